package load

import (
	"net/netip"
	"os"
	"slices"
	"testing"
)

// A line of proc(5), whose process has a name that tries to be something else.
const statLine = "4711 (a) R 1 (b) S 42 4711 4711 0 -1 4194560 100 200 0 0 120 30 7 5 20 0 3 0 100 1000 10 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0\n"

func TestParseStat(t *testing.T) {
	s, err := parseStat([]byte(statLine))
	if err != nil || s != (stat{ppid: 42, user: 127, system: 35}) {
		t.Errorf("%+v, %v", s, err)
	}
	for _, bad := range []string{"", "1 (x) S 1", "1 (x) S x 4711 4711 0 -1 4194560 100 200 0 0 120 30 7 5 20"} {
		if s, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q is read as %+v", bad, s)
		}
	}
	if got := parseSchedstat([]byte("123456789 55 3\n")); got != 123456789 {
		t.Errorf("schedstat gives %d", got)
	}
	if got := parsePSS([]byte("Rss:  9 kB\nPss_Dirty: 8 kB\nPss:                1234 kB\n")); got != 1234 {
		t.Errorf("PSS is %g", got)
	}
}

func TestTree(t *testing.T) {
	procs := map[int]stat{1: {}, 10: {ppid: 1}, 11: {ppid: 10}, 12: {ppid: 11}, 20: {ppid: 1}}
	got := tree(procs, 10)
	slices.Sort(got)
	if !slices.Equal(got, []int{10, 11, 12}) {
		t.Errorf("the tree of 10 is %v", got)
	}
}

func TestDrops(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  100: 0100007F:13C4 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 11 2 0000000000000000 5
  101: 00000000:13C4 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 12 2 0000000000000000 17
`
	every, one := netip.MustParseAddrPort("0.0.0.0:5060"), netip.MustParseAddrPort("127.0.0.1:5060")
	for _, tt := range []struct {
		at   []netip.AddrPort
		want uint64
	}{
		{[]netip.AddrPort{every}, 17}, {[]netip.AddrPort{one}, 5}, {[]netip.AddrPort{every, one}, 22},
		{[]netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:5061"), netip.MustParseAddrPort("127.0.0.2:5060")}, 0},
	} {
		if got := drops([]byte(table), tt.at...); got != tt.want {
			t.Errorf("%d dropped at %v, want %d", got, tt.at, tt.want)
		}
	}
}

// What this test takes is what is measured of it.
func TestWatch(t *testing.T) {
	me, err := ParseProcess("me=" + itoa(os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	p, err := watch([]Process{me})
	if err != nil {
		t.Fatal(err)
	}
	before, began := p.cpu(), ownCPU()
	for i := 0; ownCPU()-began < 100e6; i++ {
		_ = itoa(i)
	}
	c := p.used(before, p.cpu(), 10)[0]
	if c.Name != "me" || c.Total < 0.08 || c.PerOperation < 8 || c.Total > (ownCPU()-began).Seconds()+0.05 {
		t.Errorf("100 ms of work are %+v", c)
	}
	if kib := PSS(os.Getpid()); kib < 1000 {
		t.Errorf("this process has %g KiB", kib)
	}
	if _, err := watch([]Process{{Name: "gone", PID: 1 << 30}}); err == nil {
		t.Error("a process that is not there is watched")
	}
	for _, bad := range []string{"", "x", "=1", "x="} {
		if p, err := ParseProcess(bad); err == nil {
			t.Errorf("%q is read as %+v", bad, p)
		}
	}
}
