package storetest

import (
	"testing"

	"pgregory.net/rapid"
)

func TestFakes(t *testing.T) {
	TestTraces(t, func(rapid.TB) Subject[Traces] { return still(FakeTraces()) })
	TestLogs(t, func(rapid.TB) Subject[Logs] { return still(FakeLogs()) })
}
