package ipsec

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

type sleeper struct {
	alarm Alarm
	n     int
}

func (s *sleeper) Alarm() *Alarm { return &s.alarm }

// Whatever is set, moved and stopped, each wakes when a timer of its own would have
// woken it.
func TestAlarms(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		type step struct{ who, wait, pause int }
		steps := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) step {
			return step{rapid.IntRange(0, 20).Draw(r, "who"), rapid.IntRange(-1, 50).Draw(r, "wait"), rapid.IntRange(0, 5).Draw(r, "pause")}
		}), 1, 200).Draw(r, "steps")
		var got, want []string
		synctest.Test(t, func(*testing.T) {
			began := time.Now()
			now := func() int { return int(time.Since(began) / time.Second) }
			alarms := NewAlarms(func(s *sleeper) { got = append(got, fmt.Sprint(now(), " ", s.n)) })
			all := make([]sleeper, 21)
			due := map[int]int{}
			pass := func(until int) {
				for who, at := range due {
					if at <= until {
						want = append(want, fmt.Sprint(at, " ", who))
						delete(due, who)
					}
				}
			}
			for _, s := range steps {
				all[s.who].n = s.who
				if s.wait < 0 {
					alarms.Stop(&all[s.who])
					delete(due, s.who)
				} else {
					alarms.Set(&all[s.who], time.Now().Add(time.Duration(s.wait)*time.Second))
					due[s.who] = now() + s.wait
				}
				time.Sleep(time.Duration(s.pause) * time.Second)
				synctest.Wait()
				pass(now())
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			pass(now())
			if len(alarms.heap) != 0 {
				r.Errorf("%d are left", len(alarms.heap))
			}
		})
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			r.Errorf("woke %v\nwant %v", got, want)
		}
	})
}

func TestAlarmsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		alarms := NewAlarms(func(*sleeper) { t.Error("woken after the end") })
		s := new(sleeper)
		alarms.Set(s, time.Now().Add(time.Second))
		alarms.End()
		alarms.Set(s, time.Now().Add(time.Second))
		time.Sleep(time.Minute)
	})
}
