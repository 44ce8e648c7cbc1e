package collector

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"

	"weft/collector/store"
	"weft/collector/store/segment"
)

const storeUsage = `usage: collector store check | repair | stats | erase ID   [--data DIR]

The collector that owns the folder must not run.
  check      prove every record and every byte of spans and log records
  repair     make anew what can be, and set aside what cannot be read
  stats      what is stored, by signal
  erase ID   remove every span and log record of a request, for good`

// storeCommand looks after the stores of a collector that does not run.
func storeCommand(ctx context.Context, args []string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("store", flag.ContinueOnError)
	flags.Usage = func() { fmt.Fprintln(flags.Output(), storeUsage) }
	data := flags.String("data", cmp.Or(os.Getenv("WEFT_COLLECTOR_DATA"), "data/collector"), "the collector's data `DIR`")
	if len(args) == 0 {
		return errors.New(storeUsage)
	}
	verb, rest := args[0], args[1:]
	id := ""
	if verb == "erase" && len(rest) > 0 && rest[0] != "" && rest[0][0] != '-' {
		id, rest = rest[0], rest[1:]
	}
	if err := flags.Parse(rest); err != nil {
		return err
	}
	if flags.NArg() > 0 || verb == "erase" && id == "" {
		return errors.New(storeUsage)
	}
	cfg := store.DefaultConfig()
	cfg.Dir = filepath.Join(*data, "store")
	if _, err := os.Stat(cfg.Dir); err != nil {
		return fmt.Errorf("no stores there: %w", err)
	}
	set, err := store.Open(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	switch verb {
	case "check":
		if err := set.Check(ctx); err != nil {
			return err
		}
		fmt.Fprintln(out, "store: every record and every segment is sound")
	case "repair":
		if err := set.Repair(ctx); err != nil {
			return err
		}
		return errors.Join(set.Check(ctx), printStats(out, set.Stats()))
	case "stats":
		return printStats(out, set.Stats())
	case "erase":
		spans, logs, err := set.Erase(ctx, id)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "store: %d spans and %d log records of %s are erased\n", spans, logs, id)
	default:
		return fmt.Errorf("unknown store command %q\n%s", verb, storeUsage)
	}
	return nil
}

func printStats(out io.Writer, s store.Stats) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SIGNAL\tSEGMENTS\tROWS\tBYTES\tB/ROW\tNOT SEALED\tLOG BYTES\tOLDEST\tNEWEST\tDAMAGED\tSET ASIDE")
	for _, row := range []struct {
		signal string
		s      segment.Stats
	}{{"traces", s.Traces}, {"logs", s.Logs}} {
		perRow := 0.0
		if row.s.Rows > 0 {
			perRow = float64(row.s.SegmentBytes) / float64(row.s.Rows)
		}
		oldest, newest := "-", "-"
		if !row.s.Oldest.IsZero() {
			oldest, newest = row.s.Oldest.Format("2006-01-02 15:04:05"), row.s.Newest.Format("2006-01-02 15:04:05")
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%.1f\t%d\t%d\t%s\t%s\t%d\t%d\n", row.signal, row.s.Segments, row.s.Rows, row.s.SegmentBytes, perRow,
			row.s.UnsealedItems, row.s.Log.Bytes, oldest, newest, row.s.Damaged, row.s.Quarantine)
	}
	return w.Flush()
}
