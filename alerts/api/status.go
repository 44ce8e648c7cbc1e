package api

import (
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/go-openapi/strfmt"
	"github.com/prometheus/alertmanager/api/v2/models"
	"github.com/prometheus/common/version"
)

// status is Alertmanager's, with the version of its packages that we are built with: amtool compares it with its own.
func (a *api) status(w http.ResponseWriter, _ *http.Request) {
	config, cluster, started, number := a.deps.Config.String(), models.ClusterStatusStatusDisabled, strfmt.DateTime(a.deps.Started), Version()
	write(w, http.StatusOK, models.AlertmanagerStatus{
		Config: &models.AlertmanagerConfig{Original: &config},
		Uptime: &started, // by this name the API means when it began
		VersionInfo: &models.VersionInfo{
			Version: &number, Revision: &version.Revision, Branch: &version.Branch,
			BuildUser: &version.BuildUser, BuildDate: &version.BuildDate, GoVersion: &version.GoVersion,
		},
		Cluster: &models.ClusterStatus{Status: &cluster, Peers: []*models.PeerStatus{}},
	})
}

// Version of Alertmanager's packages, such as "0.32.1"; empty when the binary does not say.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, module := range info.Deps {
		if module.Path == "github.com/prometheus/alertmanager" {
			return strings.TrimPrefix(module.Version, "v")
		}
	}
	return ""
}

// end is when an alert is said to end: clients know of no alert without an end, and Alertmanager gives those it hears of
// without one its resolve timeout.
func end(ends, now time.Time) time.Time {
	if ends.IsZero() {
		return now.Add(endsAfter).Truncate(time.Second)
	}
	return ends
}
