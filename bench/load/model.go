package load

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	"weft/internal/semconv"
)

// Model makes traces. It is the same for the same seed and kind of request ID, and safe for use by many.
type Model struct {
	Seed      uint64 `json:"seed"`
	UUID      bool   `json:"uuid"` // request IDs are UUIDs, not the trace ID in hex
	spans     [len(journeys)][SpansPerTrace][2]*template
	logs      [len(journeys)][SpansPerTrace][4]*template
	groups    []group // by service, then instance
	groupOf   [len(journeys)][services]int
	durations *durations
}

// group is the resource and scope of one instance, encoded as fields of ResourceSpans and ScopeSpans.
type group struct{ resource, scope []byte }

// NewModel builds every template.
func NewModel(seed uint64, uuid bool) *Model {
	m := &Model{Seed: seed, UUID: uuid, durations: newDurations()}
	known := map[string]int{}
	for k, j := range journeys {
		for i, service := range j.services {
			if _, ok := known[service]; !ok {
				known[service] = len(m.groups)
				for n := 1; n <= instances; n++ {
					m.groups = append(m.groups, newGroup(service, n))
				}
			}
			m.groupOf[k][i] = known[service]
		}
		for i, p := range positions {
			for failed := range 2 {
				m.spans[k][i][failed] = prefixed(2, m.spanTemplate(j, p, failed == 1))
			}
			for v, w := range wordings(j, p) {
				m.logs[k][i][v] = prefixed(2, m.logTemplate(j, p, w))
			}
		}
	}
	return m
}

func newGroup(service string, instance int) group {
	attributes, scope := newTemplate(), newTemplate()
	name := fmt.Sprintf("%s-%d", service, instance)
	for _, pair := range [][2]string{
		{semconv.ServiceName, service}, {semconv.ServiceInstanceID, name}, {semconv.ServiceVersion, "1.4.2"},
		{"host.name", fmt.Sprintf("node-%d", instance)}, {"telemetry.sdk.name", "opentelemetry"},
		{"telemetry.sdk.language", "go"}, {"telemetry.sdk.version", "1.44.0"},
	} {
		attributes.attribute(1, pair[0], pair[1])
	}
	scope.text(1, "shop/"+service)
	scope.text(2, "1.4.2")
	return group{prefixed(1, attributes).bytes, prefixed(1, scope).bytes}
}

// requestWidth is the length of a request ID as text.
func (m *Model) requestWidth() int {
	if m.UUID {
		return 36
	}
	return 32
}

func (m *Model) spanTemplate(j journey, p position, failed bool) *template {
	t := newTemplate()
	t.blank(1, atTraceID, 16)
	t.blank(2, atSpanID, 8)
	kind := uint64(2)
	if p.parent >= 0 {
		t.blank(4, atParentID, 8)
	}
	if p.client {
		kind = 3
	}
	t.text(5, j.method+" "+j.route)
	t.varint(6, kind)
	t.blank(7, atStart, 0)
	t.blank(8, atEnd, 0)
	callee, status := j.services[p.callee], uint64(200)
	if failed {
		status = 500
	}
	width := m.requestWidth()
	t.attribute(9, semconv.HTTPRequestMethod, j.method)
	t.attribute(9, semconv.URLPath, j.path, lastBytes(atItem, 4))
	t.attribute(9, semconv.HTTPRoute, j.route)
	t.integer(9, semconv.HTTPResponseStatusCode, status)
	t.attribute(9, semconv.ServerAddress, callee)
	t.integer(9, semconv.ServerPort, 8080)
	t.attribute(9, "network.peer.address", peer, lastBytes(atPeer, 2))
	t.attribute(9, semconv.UserAgent, agents[0], lastBytes(atAgent, len(agents[0])))
	t.attribute(9, semconv.RequestIDAttribute, strings.Repeat("0", width), lastBytes(atRequestID, width))
	t.attribute(9, semconv.WeftEndpoint, callee+"-1", lastBytes(atInstance, 1))
	if failed {
		code := newTemplate()
		code.varint(3, 2)
		t.message(15, code)
	}
	return t
}

func (m *Model) logTemplate(j journey, p position, w wording) *template {
	t := newTemplate()
	t.blank(1, atStart, 0)
	t.varint(2, uint64(w.severity))
	t.text(3, w.name)
	body := newTemplate()
	body.text(1, w.template)
	for _, found := range []struct {
		slot slot
		text string
	}{{atItem, "0000"}, {atNumber5, number5}, {atNumber4, number4}, {atNumber2, number2}} {
		if at := findNumber(w.template, found.text); at >= 0 {
			body.mark(found.slot, len(w.template)-at)
		}
	}
	t.message(5, body)
	width := m.requestWidth()
	t.attribute(6, semconv.RequestIDLog, strings.Repeat("0", width), lastBytes(atRequestID, width))
	t.attribute(6, semconv.HTTPRoute, j.route)
	t.attribute(6, "logger", j.services[p.service])
	t.integer(6, "thread.id", 10, lastBytes(atThread, 1))
	t.blank(9, atTraceID, 16)
	t.blank(10, atSpanID, 8)
	t.blank(11, atEnd, 0)
	return t
}

// findNumber finds a number as a whole word: "0000" stands in "10000" too, where it is no item.
func findNumber(text, number string) int {
	isDigit := func(i int) bool { return i >= 0 && i < len(text) && text[i] >= '0' && text[i] <= '9' }
	for from := 0; ; from++ {
		i := strings.Index(text[from:], number)
		if i < 0 {
			return -1
		}
		from += i
		if !isDigit(from-1) && !isDigit(from+len(number)) {
			return from
		}
	}
}

// trace is everything that was drawn for one trace.
type trace struct {
	id        [16]byte
	request   [36]byte // the first requestWidth bytes
	spans     [SpansPerTrace][8]byte
	start     [SpansPerTrace]int64
	duration  [SpansPerTrace]int64
	failed    [SpansPerTrace]bool
	journey   int
	item      uint64
	agent     int
	instances [services]int
	peers     uint64 // 4 bits a span
	logs      random // the stream that its log records draw from
}

// draw is trace n; base is the moment its batch was made.
func (m *Model) draw(t *trace, n uint64, base int64) {
	r := randomOf(m.Seed, n)
	m.names(t, &r)
	bits := r.next()
	t.journey, t.agent, t.peers = int(bits&3), int(bits>>2&7), bits>>32
	for i := range t.instances {
		t.instances[i] = int(bits >> (8 + 5*i) & 31 % instances)
	}
	t.item = r.below(items)
	t.duration[0] = m.durations.draw(&r)
	t.start[0] = base - t.duration[0] - int64(r.next()>>37)
	for i, p := range positions {
		t.failed[i] = false
		if p.parent >= 0 {
			whole := t.duration[p.parent]
			t.duration[i] = r.part(whole, 0.3, 0.7)
			t.start[i] = t.start[p.parent] + r.part(whole, 0.02, 0.28)
		}
	}
	if r.below(failing) == 0 {
		for i := int(r.below(SpansPerTrace)); i >= 0; i = positions[i].parent {
			t.failed[i] = true
		}
	}
	t.logs = r
}

// names draws the IDs, first, so that they need no time.
func (m *Model) names(t *trace, r *random) {
	binary.LittleEndian.PutUint64(t.id[:], r.next())
	binary.LittleEndian.PutUint64(t.id[8:], r.next())
	for i := range t.spans {
		binary.LittleEndian.PutUint64(t.spans[i][:], r.next()|1) // an ID of zeros is none
	}
	if !m.UUID {
		hex.Encode(t.request[:], t.id[:])
		return
	}
	var u [16]byte
	binary.LittleEndian.PutUint64(u[:], r.next())
	binary.LittleEndian.PutUint64(u[8:], r.next())
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80 // version 4 (RFC 9562)
	out := t.request[:]
	hex.Encode(out[:8], u[:4])
	hex.Encode(out[9:13], u[4:6])
	hex.Encode(out[14:18], u[6:8])
	hex.Encode(out[19:23], u[8:10])
	hex.Encode(out[24:36], u[10:])
	for _, i := range []int{8, 13, 18, 23} {
		out[i] = '-'
	}
}

// IDs are trace n's trace ID in hex and its request ID.
func (m *Model) IDs(n uint64) (traceID, requestID string) {
	var t trace
	r := randomOf(m.Seed, n)
	m.names(&t, &r)
	return hex.EncodeToString(t.id[:]), string(t.request[:m.requestWidth()])
}
