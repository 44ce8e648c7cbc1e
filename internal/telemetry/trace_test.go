package telemetry

import "testing"

func TestParseTraceparent(t *testing.T) {
	const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	tests := map[string]struct {
		header      string
		ok, sampled bool
	}{
		"sampled":             {good, true, true},
		"not sampled":         {good[:53] + "00", true, false},
		"other flags":         {good[:53] + "fe", true, false},
		"later version":       {"01" + good[2:], true, true},
		"later version, more": {"cc" + good[2:] + "-what-comes", true, true},
		"later, bad more":     {"cc" + good[2:] + "x", false, false},
		"version 00, more":    {good + "-x", false, false},
		"version ff":          {"ff" + good[2:], false, false},
		"upper case":          {"00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", false, false},
		"zero trace":          {"00-00000000000000000000000000000000-b7ad6b7169203331-01", false, false},
		"zero span":           {"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false, false},
		"short":               {good[:54], false, false},
		"empty":               {"", false, false},
		"not hex":             {"00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01", false, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			trace, span, sampled, ok := ParseTraceparent(test.header)
			if ok != test.ok || sampled != test.sampled {
				t.Fatalf("ok %v sampled %v, want %v %v", ok, sampled, test.ok, test.sampled)
			}
			if again := FormatTraceparent(trace, span, sampled); ok && test.header[:2] == "00" && again[:53] != test.header[:53] {
				t.Fatalf("formatted %q", again)
			}
		})
	}
}

func FuzzParseTraceparent(f *testing.F) {
	f.Add("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	f.Add("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x")
	f.Fuzz(func(t *testing.T, header string) {
		trace, span, sampled, ok := ParseTraceparent(header)
		if !ok {
			return
		}
		trace2, span2, sampled2, ok2 := ParseTraceparent(FormatTraceparent(trace, span, sampled))
		if !ok2 || trace2 != trace || span2 != span || sampled2 != sampled {
			t.Fatalf("%q does not survive", header)
		}
	})
}
