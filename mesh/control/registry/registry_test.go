package registry

import (
	"strings"
	"testing"
	"time"

	"weft/internal/sample"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

const ttl = 2 * time.Second

func endpoint(instance, address string) Endpoint {
	service, _, _ := strings.Cut(instance, "-")
	return Endpoint{Key: sample.Key{Service: service, Instance: instance}, Address: address, Protocol: "http"}
}

func names(r *Registry) string {
	var out []string
	for _, e := range r.Endpoints() {
		out = append(out, e.Key.Instance+"@"+e.Address)
	}
	return strings.Join(out, " ")
}

// expireUntil looks every 100 ms, as the publisher does.
func expireUntil(r *Registry, from, to time.Duration) {
	for at := from; at <= to; at += 100 * time.Millisecond {
		r.Expire(start.Add(at))
	}
}

func TestLeases(t *testing.T) {
	a := endpoint("pay-1", "a")
	at := start.Add
	tests := map[string]struct {
		play func(t *testing.T, r *Registry)
		want string
	}{
		"heartbeats keep it": {func(t *testing.T, r *Registry) {
			for s := range 20 {
				expireUntil(r, time.Duration(s)*time.Second, time.Duration(s)*time.Second+900*time.Millisecond)
				if !r.beat(at(time.Duration(s)*time.Second), 1, a) {
					t.Fatal("not held")
				}
			}
		}, "pay-1@a"},
		"silence of an open stream: still there": {func(_ *testing.T, r *Registry) { expireUntil(r, 0, 2*ttl) }, "pay-1@a"},
		"silence of an open stream: gone":        {func(_ *testing.T, r *Registry) { expireUntil(r, 0, 2*ttl+100*time.Millisecond) }, ""},
		"broken stream: still there": {func(_ *testing.T, r *Registry) {
			r.release(start, 1, a.Key, false)
			expireUntil(r, 0, ttl*3/4)
		}, "pay-1@a"},
		"broken stream: gone": {func(_ *testing.T, r *Registry) {
			r.release(start, 1, a.Key, false)
			expireUntil(r, 0, ttl*3/4+100*time.Millisecond)
		}, ""},
		"broken, and back in time": {func(t *testing.T, r *Registry) {
			r.release(start, 1, a.Key, false)
			if err := r.hold(at(900*time.Millisecond), 2, a); err != nil {
				t.Fatal(err)
			}
			expireUntil(r, 0, 4*time.Second)
		}, "pay-1@a"},
		"goodbye: gone at once": {func(_ *testing.T, r *Registry) { r.release(start, 1, a.Key, true) }, ""},
		"the newest process wins": {func(t *testing.T, r *Registry) {
			if err := r.hold(start, 2, endpoint("pay-1", "b")); err != nil {
				t.Fatal(err)
			}
			if r.beat(start, 1, a) {
				t.Fatal("the older stream still holds it")
			}
			if err := r.hold(start, 1, a); err == nil || !strings.Contains(err.Error(), "at b") {
				t.Fatalf("the older stream took it back: %v", err)
			}
			r.release(start, 1, a.Key, true)
		}, "pay-1@b"},
		"the older one may come back when the newer has left": {func(t *testing.T, r *Registry) {
			_ = r.hold(start, 2, endpoint("pay-1", "b"))
			r.release(start, 2, a.Key, false)
			if err := r.hold(start, 1, a); err != nil {
				t.Fatal(err)
			}
		}, "pay-1@a"},
		"control was paused": {func(_ *testing.T, r *Registry) {
			r.Expire(start)
			r.Expire(at(time.Minute)) // SIGSTOP, or a machine that slept: the heartbeats are still in the socket
			expireUntil(r, time.Minute, time.Minute+time.Second)
		}, "pay-1@a"},
		"control was paused, but nobody came": {func(_ *testing.T, r *Registry) {
			r.Expire(start)
			expireUntil(r, time.Minute, time.Minute+2*ttl+200*time.Millisecond)
		}, ""},
		"restored, not back": {func(_ *testing.T, r *Registry) {
			r.Restore(start, []Endpoint{endpoint("pay-2", "c")}, 5*time.Second)
			expireUntil(r, 0, 4900*time.Millisecond)
		}, "pay-2@c"},
		"restored, grace over": {func(_ *testing.T, r *Registry) {
			r.Restore(start, []Endpoint{endpoint("pay-2", "c")}, 5*time.Second)
			expireUntil(r, 0, 5100*time.Millisecond)
		}, ""},
		"restored does not hide who is here": {func(_ *testing.T, r *Registry) {
			r.Restore(start, []Endpoint{endpoint("pay-1", "old")}, 5*time.Second)
		}, "pay-1@a"},
		"static beside it": {func(t *testing.T, r *Registry) {
			static := endpoint("mysql-1", "db:3306")
			static.Static = true
			r.Configure(ttl, []Endpoint{static})
			if err := r.hold(start, 3, endpoint("mysql-1", "evil:1")); err == nil {
				t.Fatal("a static endpoint was taken over")
			}
			expireUntil(r, 0, time.Hour/1000)
		}, "mysql-1@db:3306 pay-1@a"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := New(ttl)
			if err := r.hold(start, 1, a); err != nil {
				t.Fatal(err)
			}
			test.play(t, r)
			if got := names(r); got != test.want {
				t.Fatalf("%q, want %q", got, test.want)
			}
		})
	}
}

func TestHolders(t *testing.T) {
	r := New(ttl)
	_ = r.hold(start, 1, endpoint("pay-1", "a"))
	r.Restore(start, []Endpoint{endpoint("pay-2", "b")}, time.Minute)
	if got := r.Holders(); len(got) != 1 || got[0] != "pay/pay-1" {
		t.Fatalf("%v, want only the one with a stream", got)
	}
}
