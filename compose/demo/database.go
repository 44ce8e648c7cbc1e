package demo

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"
	_ "modernc.org/sqlite" // registers the "sqlite" driver
)

// sqlTimeout bounds one statement: a shopper does not wait longer for a database that is down.
const sqlTimeout = time.Second

// database is MySQL behind a TCP route, or SQLite in a file.
type database struct {
	*sql.DB
	backing
	mu     sync.Mutex
	ready  bool
	schema []string
}

// openDatabase connects lazily, so that a service starts also while its database is down.
func openDatabase(s settings, schema ...string) (*database, error) {
	var db *sql.DB
	var err error
	described := databaseOf("sqlite", "", "")
	switch {
	case s.mysql != "":
		config := mysql.NewConfig()
		config.Net, config.Addr = "tcp", s.mysql
		config.User, config.Passwd = cmp.Or(os.Getenv("DEMO_MYSQL_USER"), "shop"), os.Getenv("DEMO_MYSQL_PASSWORD")
		config.DBName = cmp.Or(os.Getenv("DEMO_MYSQL_DATABASE"), "shop")
		config.Timeout, config.ReadTimeout, config.WriteTimeout = sqlTimeout, sqlTimeout, sqlTimeout
		config.Logger = &mysql.NopLogger{} // every error is returned too, and logged by the service with its request ID
		db, err = sql.Open("mysql", config.FormatDSN())
		described = databaseOf("mariadb", "mysql", s.mysql)
	case s.sqlite != "":
		db, err = sql.Open("sqlite", s.sqlite+"?_pragma=busy_timeout(1000)&_pragma=journal_mode(WAL)")
	default:
		return nil, errors.New("--mysql or --sqlite is needed")
	}
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(8)
	db.SetMaxIdleConns(8)
	return &database{DB: db, backing: described, schema: schema}, nil
}

// prepared makes the tables at the first request that finds the database up.
func (d *database) prepared(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ready {
		return nil
	}
	for _, statement := range d.schema {
		if _, err := d.ExecContext(ctx, statement); err != nil && !strings.Contains(err.Error(), "uplicate") {
			return err
		}
	}
	d.ready = true
	return nil
}
