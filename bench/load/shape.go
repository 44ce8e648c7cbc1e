package load

import "fmt"

const (
	// SpansPerTrace is also the number of log records of a trace: one a span.
	SpansPerTrace = 8
	services      = 4 // of one trace
	instances     = 3 // of one service
	items         = 10_000
	failing       = 50 // one trace in so many fails
)

// journey is a kind of request: who serves it.
type journey struct {
	method, path, route string // "0000" in path is the item
	name                string // of the operation
	services            [services]string
}

var journeys = [4]journey{
	{"GET", "/api/items/0000", "/api/items/{id}", "item", [services]string{"gateway", "storefront", "catalog", "pricing"}},
	{"POST", "/api/cart/0000", "/api/cart/{id}", "add", [services]string{"gateway", "storefront", "cart", "inventory"}},
	{"POST", "/api/orders/0000", "/api/orders/{id}", "checkout", [services]string{"gateway", "orders", "payment", "shipping"}},
	{"GET", "/api/home/0000", "/api/home/{user}", "home", [services]string{"gateway", "storefront", "advice", "catalog"}},
}

// position is one span's place in every trace.
type position struct {
	parent  int // -1: the root
	service int // whose span it is, in journey.services
	callee  int // whom a client span calls; of a server span, itself
	client  bool
}

// Each service but the last calls the next, and the second calls the last.
var positions = [SpansPerTrace]position{
	{-1, 0, 0, false}, {0, 0, 1, true}, {1, 1, 1, false}, {2, 1, 2, true},
	{3, 2, 2, false}, {2, 1, 3, true}, {5, 3, 3, false}, {6, 3, 3, true},
}

// agents are of one length, so that a template has one place for all of them.
var agents = [8]string{
	"Mozilla/5.0 (X11; Linux) Firefox/140.0", "Mozilla/5.0 (Macintosh) Safari/18.5.01",
	"Mozilla/5.0 (Windows) Chrome/138.0.721", "Mozilla/5.0 (Windows) Edg/138.0.335101",
	"Mozilla/5.0 (iPhone; CPU iOS 18_5_101)", "Mozilla/5.0 (Android 15) Chrome/138.01",
	"shop-app/7.41.0 (okhttp 4.12.0; And15)", "shop-batch/2.3 (requests/2.32.4; cron)",
}

const peer = "10.20.30.100" // the last two digits are patched

// wording is one log line; digits stand where numbers are filled in.
type wording struct {
	severity       int
	name, template string
}

// Numbers in texts have a fixed count of digits, the first never 0.
const (
	number5 = "10000"
	number4 = "1001"
	number2 = "11"
)

// wordings of a span; the last is for one that failed, the one before for 3 in 100.
func wordings(j journey, p position) [4]wording {
	service, callee := j.services[p.service], j.services[p.callee]
	slow := wording{13, "WARN", fmt.Sprintf("%s of item 0000 is slow: %s us, queue %s", j.name, number5, number2)}
	bad := wording{17, "ERROR", fmt.Sprintf("%s of item 0000 failed after %s us: %s lost", j.name, number5, callee)}
	if p.client {
		return [4]wording{
			{9, "INFO", fmt.Sprintf("called %s for item 0000: %s bytes in %s us", callee, number5, number4)},
			{5, "DEBUG", fmt.Sprintf("%s answered %s of item 0000, pool %s busy", callee, j.name, number2)}, slow, bad,
		}
	}
	return [4]wording{
		{9, "INFO", fmt.Sprintf("%s %s done, %s bytes, %s us", j.method, j.path, number5, number4)},
		{9, "INFO", fmt.Sprintf("%s: %s of item 0000 took %s us, %s rows", service, j.name, number5, number2)}, slow, bad,
	}
}
