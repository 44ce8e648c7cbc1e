package load

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
)

// Acknowledged is a batch with the moment its acknowledgement came, Unix ns.
type Acknowledged struct {
	Batch
	At int64
}

// Ledger is the sender's own list of what was acknowledged.
type Ledger struct {
	mu      sync.Mutex
	entries []Acknowledged
	fresh   chan Acknowledged
}

func newLedger() *Ledger { return &Ledger{fresh: make(chan Acknowledged)} }

func (l *Ledger) add(a Acknowledged) {
	l.mu.Lock()
	l.entries = append(l.entries, a)
	l.mu.Unlock()
	select {
	case l.fresh <- a:
	default:
	}
}

// Fresh gives a batch at the moment it is acknowledged to whoever is waiting then; those that come while nobody waits
// are only in the list.
func (l *Ledger) Fresh() <-chan Acknowledged { return l.fresh }

// Entries is the list so far, in order of acknowledgement.
func (l *Ledger) Entries() []Acknowledged {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.entries)
}

// Items counts the acknowledged items of a signal.
func (l *Ledger) Items(signal Signal) (n int) {
	for _, a := range l.Entries() {
		if a.Signal == signal {
			n += a.Items()
		}
	}
	return n
}

// Save writes the list with the model it is of: one line of JSON, then the entries, little endian.
func (l *Ledger) Save(path string, m *Model) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(file)
	err = json.NewEncoder(out).Encode(m)
	for _, a := range l.Entries() {
		err = errors.Join(err, binary.Write(out, binary.LittleEndian, a))
	}
	return errors.Join(err, out.Flush(), file.Close())
}

// LoadLedger reads what Save has written.
func LoadLedger(path string) (*Model, *Ledger, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = file.Close() }()
	in := bufio.NewReader(file)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return nil, nil, fmt.Errorf("ledger %s: %w", path, err)
	}
	var m Model
	if err := json.Unmarshal(line, &m); err != nil {
		return nil, nil, fmt.Errorf("ledger %s: %w", path, err)
	}
	l := newLedger()
	for {
		var a Acknowledged
		switch err := binary.Read(in, binary.LittleEndian, &a); {
		case errors.Is(err, io.EOF):
			return NewModel(m.Seed, m.UUID), l, nil
		case err != nil:
			return nil, nil, fmt.Errorf("ledger %s: %w", path, err)
		}
		l.entries = append(l.entries, a)
	}
}
