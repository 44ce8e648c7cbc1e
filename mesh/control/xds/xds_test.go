package xds

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"weft/internal/sample"
	"weft/mesh/control/registry"
	"weft/mesh/control/steer"
)

func service(name string, n int) []steer.Endpoint {
	var out []steer.Endpoint
	for i := range n {
		key := sample.Key{Service: name, Instance: fmt.Sprintf("%s-%d", name, i)}
		out = append(out, steer.Endpoint{
			Endpoint: registry.Endpoint{Key: key, Address: fmt.Sprintf("10.0.0.%d:80", i), Protocol: "http"}, Weight: 100, Source: steer.SourceDefault,
		})
	}
	return out
}

func anybody(string, string) bool { return true }

// One service that cannot be said does not keep the others from being told.
func TestUpdateSkipsWhatIsBroken(t *testing.T) {
	s := New(context.Background(), anybody, nil)
	broken := service("b", 1)
	broken[0].Address = "nowhere"
	err := s.Update(map[string][]steer.Endpoint{"a": service("a", 2), "b": broken})
	if err == nil || !strings.Contains(err.Error(), "b/b-0") {
		t.Fatalf("error %v does not name the endpoint", err)
	}
	seen := s.resources.callerCache("gateway").GetResources()
	if seen["a"] == nil || seen["b"] != nil {
		t.Fatalf("resources: %v", seen)
	}
}

func pack(t *testing.T, m proto.Message) *anypb.Any {
	t.Helper()
	packed, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

func TestTold(t *testing.T) {
	list := service("a", 3)
	list[0].Source, list[0].Verdict, list[0].Term = steer.SourceVerdict, 7, 2
	list[1].Source, list[1].Verdict, list[1].Term = steer.SourcePanic, 9, 2
	list[2].Source, list[2].Verdict, list[2].Term = steer.SourceExpired, 99, 2 // applies to nothing any more
	message, err := assignment("a", list)
	if err != nil {
		t.Fatal(err)
	}
	packed := pack(t, message)
	name, newest, ok := told(packed)
	if !ok || name != "a" || newest != (Applied{Term: 2, Version: 9}) {
		t.Fatalf("%s %+v %v", name, newest, ok)
	}
}

// BenchmarkUpdate is a push of one service of 20 endpoints to 20 calling services.
func BenchmarkUpdate(b *testing.B) {
	s := New(context.Background(), anybody, nil)
	for i := range 20 {
		s.resources.callerCache(fmt.Sprintf("caller-%d", i))
	}
	push := map[string][]steer.Endpoint{"a": service("a", 20)}
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Update(push); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAssignment is the message for one service of 20 endpoints.
func BenchmarkAssignment(b *testing.B) {
	list := service("a", 20)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := assignment("a", list); err != nil {
			b.Fatal(err)
		}
	}
}
