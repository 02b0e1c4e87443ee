package profile

// single is a profile with the one service profile that most have. What room makes in
// one piece is held in one piece: who keeps an identity of it keeps all of it.
type single struct {
	Profile
	service [1]ServiceProfile
}

func (s *single) profile() *Profile {
	s.ServiceProfiles = s.service[:]
	return &s.Profile
}

// room returns an empty profile with so many service profiles, and room for the public
// identities of all of them. Each registered user has one, and each object of it costs
// whenever the collector marks: the usual ones are one object.
func room(services, identities int) (*Profile, []PublicIdentity) {
	if services == 1 {
		switch identities {
		case 1:
			one := new(struct {
				single
				ids [1]PublicIdentity
			})
			return one.profile(), one.ids[:0]
		case 2:
			one := new(struct {
				single
				ids [2]PublicIdentity
			})
			return one.profile(), one.ids[:0]
		case 3:
			one := new(struct {
				single
				ids [3]PublicIdentity
			})
			return one.profile(), one.ids[:0]
		}
	}
	return &Profile{ServiceProfiles: make([]ServiceProfile, services)}, make([]PublicIdentity, 0, identities)
}
