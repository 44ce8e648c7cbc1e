package forward

import "sync"

const (
	budgetReserve = 10  // retries that a service without traffic so far may spend
	budgetLimit   = 100 // what quiet times can save up for a bad moment
)

// budget bounds retries to a share of the requests, so that they never multiply a failure.
type budget struct {
	mu     sync.Mutex
	tokens float64
}

func newBudget() *budget { return &budget{tokens: budgetReserve} }

// earn is called once per request.
func (b *budget) earn(percent int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens = min(budgetLimit, b.tokens+float64(percent)/100)
}

// spend is called once per retry, and says whether it may be made.
func (b *budget) spend(percent int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if percent == 0 || b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
