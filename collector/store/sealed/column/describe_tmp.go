package column

import "fmt"

func (m *Meta) Describe(n float64) string {
	out := ""
	for i, d := range m.Columns {
		k := m.Groups[0].Chunks[i]
		if k.Nulls == m.Groups[0].Rows {
			continue
		}
		out += fmt.Sprintf("%-40s %6.3f B/row  %v %v nulls %d\n", d.Name, float64(k.Size)/n, k.encoding, k.codec, k.Nulls)
	}
	return out
}
