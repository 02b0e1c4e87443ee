// Package cx holds the commands of the Cx interface between the CSCFs and the
// HSS (TS 29.228, TS 29.229) as Go types, each used for both directions, with a
// client for those who ask and a server for those who answer.
//
// Every structure states its AVPs once, in its fields method, from which both
// the encoder and the decoder work. AVPs are identified by code and vendor; those
// that are not known here and do not have the M bit are ignored, as are values
// in answers that the specification forbids but HSSes send (an Item-Number of 0,
// a Server-Name without scheme, both kinds of result).
//
// Keys never show: fields that hold them are [Secret], and [Redact] blanks them
// in a message that people will see.
package cx

import (
	_ "embed"

	"github.com/gocscf/gocscf/diameter"
)

// Application is the Application-Id of Cx and Dx (TS 29.229 5.3).
const Application uint32 = 16777216

// Command codes (TS 29.229 6.1).
const (
	UserAuthorization       uint32 = 300
	ServerAssignment        uint32 = 301
	LocationInfo            uint32 = 302
	MultimediaAuth          uint32 = 303
	RegistrationTermination uint32 = 304
	PushProfile             uint32 = 305
)

// XML is the dictionary of Cx in go-diameter's format, for nodes that speak
// further applications: pass it to diameter.NewDictionary with theirs.
//
//go:embed cx.xml
var XML string

var dictionary = func() *diameter.Dictionary {
	d, err := diameter.NewDictionary(XML)
	if err != nil {
		panic("diameter/cx: the built-in dictionary cannot be read: " + err.Error())
	}
	return d
}()

// Dictionary returns the dictionary of a node that speaks Cx alone.
func Dictionary() *diameter.Dictionary { return dictionary }

// App is Cx for diameter.Config.Applications: vendor 10415, no session state
// (TS 29.229 5.3, 5.6).
func App() diameter.Application {
	return diameter.Application{ID: Application, Vendor: diameter.Vendor3GPP, Stateless: true}
}

// CommandName returns the short name of a command, "UAR" or "UAA", and "" for a
// command that is not of Cx.
func CommandName(command uint32, request bool) string {
	c := dictionary.Command(Application, command)
	if c == nil {
		return ""
	}
	if request {
		return c.Short + "R"
	}
	return c.Short + "A"
}
