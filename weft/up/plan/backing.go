package plan

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// serverProgram finds a Debian server program where the options say; /usr/sbin is not on everybody's PATH.
func (p *Plan) serverProgram(name string) (string, bool) {
	folders := p.Options.Demo.ServerPath
	if len(folders) == 0 {
		folders = append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin")
	}
	for _, folder := range folders {
		if path, err := exec.LookPath(filepath.Join(folder, name)); err == nil && filepath.IsAbs(path) {
			return path, true
		}
	}
	return "", false
}

// hasServer says whether a backing service is a network service here. The queue always is: without Debian's
// nats-server, its own code runs in a process of ours.
func (p *Plan) hasServer(service string) bool {
	switch service {
	case "mysql":
		_, found := p.serverProgram("mariadbd")
		return found
	case "redis":
		_, found := p.serverProgram("redis-server")
		return found
	default:
		return true
	}
}

// backingServices is control's list of static endpoints.
func (p *Plan) backingServices() (map[string]any, error) {
	out := map[string]any{}
	for _, service := range []string{"mysql", "redis", "nats"} {
		if !p.hasServer(service) {
			continue
		}
		address, err := p.addresses.of("demo/" + service + "-1.tcp")
		if err != nil {
			return nil, err
		}
		out[service] = map[string]any{
			"protocol":  "tcp",
			"endpoints": []any{map[string]any{"instance": service + "-1", "address": address}},
		}
	}
	return out, nil
}

func (p *Plan) addBacking() error {
	for _, add := range []func() error{p.addDatabase, p.addCache, p.addQueue} {
		if err := add(); err != nil {
			return err
		}
	}
	return nil
}

// backingPart is what the three have in common; dir is the part's own data folder.
func (p *Plan) backingPart(service string) (part *Part, host, port, dir string, err error) {
	at, err := p.reserve("demo/"+service+"-1", "tcp")
	if err != nil {
		return nil, "", "", "", err
	}
	dir = filepath.Join(p.Data, "demo", service)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, "", "", "", err
	}
	host, port, err = net.SplitHostPort(at["tcp"])
	return &Part{Name: "demo/" + service + "-1", Addresses: at, Phase: Second, Ready: tcpReady(at["tcp"])}, host, port, dir, err
}

func (p *Plan) addDatabase() error {
	program, found := p.serverProgram("mariadbd")
	if !found {
		return nil
	}
	part, host, port, dir, err := p.backingPart("mysql")
	if err != nil {
		return err
	}
	initial, err := p.databaseAccount(filepath.Dir(dir))
	if err != nil {
		return err
	}
	part.Program = program
	part.Args = []string{
		"--no-defaults", "--datadir=" + dir, "--bind-address=" + host, "--port=" + port, "--socket=" + filepath.Join(p.Run, "mysql.sock"),
		"--pid-file=" + filepath.Join(p.Run, "mysql.pid"), "--init-file=" + initial, "--skip-name-resolve", "--skip-log-bin", "--innodb-flush-log-at-trx-commit=2",
		"--innodb-buffer-pool-size=24M", "--innodb-log-file-size=16M", "--performance-schema=OFF", "--max-connect-errors=1000000000", "--table-open-cache=64", "--aria-pagecache-buffer-size=8M",
	}
	if os.Getuid() == 0 {
		part.Args = append(part.Args, "--user=root")
	}
	part.Prepare = func() error { return p.installDatabase(dir) }
	part.Ready = mysqlReady(part.Addresses["tcp"])
	part.Note = "MariaDB"
	return p.add(part)
}

// installDatabase makes the system tables once. An interrupted installation is started afresh: the folder is renamed
// into place only when it is whole.
func (p *Plan) installDatabase(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "mysql")); err == nil {
		return nil
	}
	install, found := p.serverProgram("mariadb-install-db")
	if !found {
		return errors.New("demo/mysql-1: mariadb-install-db is missing beside mariadbd; install mariadb-server again")
	}
	fresh := dir + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	args := []string{"--no-defaults", "--datadir=" + fresh, "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"}
	if os.Getuid() == 0 {
		args = append(args, "--user=root")
	}
	if out, err := exec.CommandContext(ctx, install, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("demo/mysql-1: %s: %w: %s", install, err, strings.TrimSpace(string(out)))
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.Rename(fresh, dir)
}

// databaseAccount writes the statements that the server runs at each start. The password is random, and kept beside
// the database for the services.
func (p *Plan) databaseAccount(folder string) (string, error) {
	path := filepath.Join(folder, "password")
	if _, err := os.Stat(path); err != nil {
		if err := os.WriteFile(path, []byte(rand.Text()), 0o600); err != nil {
			return "", err
		}
	}
	password, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	statements := fmt.Sprintf("CREATE DATABASE IF NOT EXISTS shop;\n"+
		"CREATE USER IF NOT EXISTS 'shop'@'127.0.0.1' IDENTIFIED BY '%[1]s';\nALTER USER 'shop'@'127.0.0.1' IDENTIFIED BY '%[1]s';\n"+
		"GRANT ALL ON shop.* TO 'shop'@'127.0.0.1';\n", password)
	initial := filepath.Join(folder, "account.sql")
	return initial, os.WriteFile(initial, []byte(statements), 0o600)
}

func (p *Plan) addCache() error {
	program, found := p.serverProgram("redis-server")
	if !found {
		return nil
	}
	part, host, port, dir, err := p.backingPart("redis")
	if err != nil {
		return err
	}
	part.Program, part.Note = program, "Redis"
	part.Args = []string{"--bind", host, "--port", port, "--dir", dir, "--save", "60 1", "--appendonly", "no"}
	return p.add(part)
}

func (p *Plan) addQueue() error {
	part, host, port, dir, err := p.backingPart("nats")
	if err != nil {
		return err
	}
	if program, found := p.serverProgram("nats-server"); found {
		part.Program, part.Note = program, "NATS JetStream"
		part.Args = []string{"-js", "-sd", dir, "-a", host, "-p", port}
	} else {
		part.Program, part.Note = "demo", "stand-in: nats-server's own code in a process of the demo, "+absent("nats-server", "nats-server")
		part.Args = []string{"nats", "--addr", part.Addresses["tcp"], "--data", dir}
	}
	return p.add(part)
}

// backingFlags point a service at its sidecar's TCP routes, or at what stands in for a server that is not installed.
func (p *Plan) backingFlags(needs []string, routes map[string]string) []string {
	var flags []string
	for _, service := range needs {
		switch {
		case p.hasServer(service):
			flags = append(flags, "--"+service, routes[service])
		case service == "mysql":
			flags = append(flags, "--sqlite", filepath.Join(p.Data, "demo", "shop.db"))
		}
	}
	return flags
}

// backingEnv carries the database account: an environment is not shown in a process list.
func (p *Plan) backingEnv() []string {
	password, err := os.ReadFile(filepath.Join(p.Data, "demo", "password"))
	if err != nil {
		return nil
	}
	return []string{"DEMO_MYSQL_USER=shop", "DEMO_MYSQL_DATABASE=shop", "DEMO_MYSQL_PASSWORD=" + string(password)}
}

// StandIn is a row of the table about a server that is not there.
type StandIn struct{ What, Note string }

// StandIns are the backing services that have no process of their own. The queue always has one: its Note says which.
func (p *Plan) StandIns() []StandIn {
	var rows []StandIn
	if !p.Options.Demo.Enabled {
		return nil
	}
	if !p.hasServer("mysql") {
		rows = append(rows, StandIn{"database", "stand-in: SQLite in a file, " + absent("mariadbd", "mariadb-server")})
	}
	if !p.hasServer("redis") {
		rows = append(rows, StandIn{"cache", "stand-in: the cart's memory, " + absent("redis-server", "redis-server")})
	}
	return rows
}

// absent says why there is a stand-in.
func absent(program, debianPackage string) string {
	return fmt.Sprintf("since %s was not found (Debian package %s)", program, debianPackage)
}
