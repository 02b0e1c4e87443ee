package chaos

import "context"

// Own is a fault that the caller brings about and takes away. Those of a whole machine, its
// clock and its disks, are none of this package's, which needs no privileges. It must lose
// no phone and no call, and one of signs, if there are any, must show.
func Own(name, what string, signs []Sign, come, gone func(context.Context) error) Fault {
	return Fault{
		Name: name, What: what, Signs: signs, own: true,
		come: func(ctx context.Context, _ *bench) error { return come(ctx) },
		gone: func(ctx context.Context, _ *bench) error { return gone(ctx) },
	}
}
