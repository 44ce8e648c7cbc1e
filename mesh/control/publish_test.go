package control

import (
	"testing"
	"time"

	"weft/internal/sample"
	"weft/mesh/control/registry"
	"weft/mesh/control/steer"
)

func TestDue(t *testing.T) {
	at := func(instance, address string, state sample.State, weight int) steer.Endpoint {
		key := sample.Key{Service: "payment", Instance: instance}
		return steer.Endpoint{Endpoint: registry.Endpoint{Key: key, Address: address}, State: state, Weight: weight}
	}
	a, b := at("a", "1", sample.Healthy, 100), at("b", "2", sample.Healthy, 100)
	moved, degraded, ejected, probing := at("a", "9", sample.Healthy, 100), at("a", "1", sample.Degraded, 40), at("a", "1", sample.Ejected, 0), at("a", "1", sample.Probing, 1)
	living := a
	living.TTL = 3 * time.Second
	type list = []steer.Endpoint
	tests := map[string]struct {
		before, want list
		age          time.Duration
		due          bool
	}{
		"nothing new":               {list{a}, list{a}, time.Hour, false},
		"an ejection, at once":      {list{a, b}, list{ejected, b}, 0, true},
		"a removal, at once":        {list{a, b}, list{b}, 0, true},
		"another address, at once":  {list{a}, list{moved}, 0, true},
		"an ejected one, new":       {list{b}, list{ejected, b}, 0, true},
		"an ejection of last time":  {list{ejected, b}, list{ejected, b}, 0, false},
		"a weight, too soon":        {list{a}, list{degraded}, 900 * time.Millisecond, false},
		"a weight, in time":         {list{a}, list{degraded}, time.Second, true},
		"a recovery, too soon":      {list{ejected}, list{probing}, 0, false},
		"a newcomer, too soon":      {list{a}, list{a, b}, 0, false},
		"a newcomer, in time":       {list{a}, list{a, b}, time.Second, true},
		"a living verdict, young":   {list{living}, list{living}, 700 * time.Millisecond, false},
		"a living verdict, a third": {list{living}, list{living}, time.Second - look, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			now := time.Now()
			if got := (pushed{test.before, now.Add(-test.age)}).due(now, test.want); got != test.due {
				t.Fatalf("%v, want %v", got, test.due)
			}
		})
	}
}

func FuzzSaved(f *testing.F) {
	f.Add([]byte(`{"at":"2026-01-01T00:00:00Z","endpoints":[{"key":{"Service":"a","Instance":"b"},"address":"h:1"}],"term":1,"verdicts":[{"state":9}]}`))
	f.Add([]byte(`{}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := parseSaved(raw)
		if err != nil {
			return
		}
		if v, ok := s.verdicts(s.At); ok && (v.TTL < 0 || v.TTL > steer.LongestTTL) {
			t.Fatalf("ttl %v", v.TTL)
		}
		for _, e := range s.Endpoints {
			if e.Address == "" {
				t.Fatal("an endpoint without an address was taken")
			}
		}
	})
}
