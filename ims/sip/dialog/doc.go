// Package dialog is what a SIP element originates itself: the user agent half of
// RFC 3261 (clauses 8, 12 to 15), on top of the sockets, transactions and routing
// of ims/sip/proxy.
//
//   - Requests outside dialogs with their outcome: Agent.Do (REGISTER, MESSAGE,
//     OPTIONS, a third-party REGISTER).
//   - Dialogs, UAC and UAS: route set, remote target and its refresh, CSeq both
//     ways (RFC 3261 12), requests inside them.
//   - Subscriptions: Subscription is the subscriber, Notifier the notifier
//     (RFC 6665).
//   - Calls: Agent.Invite and Agent.Accept give a Session, with reliable
//     provisional responses (RFC 3262), UPDATE (RFC 3311), re-INVITE with 491 and
//     retry (RFC 3261 14), retransmission of 2xx until ACK, forks, CANCEL and BYE.
//     Offers and answers are the user's: bodies pass through.
//
// # Threads
//
// Everything about one Call-ID happens on one goroutine, that of its shard in the
// transaction layer; the package has no goroutines. Methods of Agent may be
// called from anywhere. Those of Dialog, Session, Invitation, Subscription,
// Notifier and Incoming belong to callbacks, or to functions handed to Post.
// Callbacks must not block.
//
// # One usage a dialog
//
// A dialog carries one session or one subscription (RFC 6665 4.5 and RFC 5057
// advise against sharing). When that ends, the dialog does.
package dialog
