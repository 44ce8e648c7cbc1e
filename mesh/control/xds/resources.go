package xds

import (
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// mostServices bounds what a caller may make control remember by asking for it.
const mostServices = 8192

// resources are the EDS resources as each calling service may see them: one LinearCache per caller. A service that the
// caller may not see is there without endpoints, so that a policy which forbids it also takes the endpoints away.
type resources struct {
	mayCall func(from, to string) bool
	prefix  string // of versions: those of an earlier process mean nothing

	mu      sync.Mutex
	current map[string]*endpointv3.ClusterLoadAssignment
	callers map[string]*cache.LinearCache
}

func newResources(started time.Time, mayCall func(from, to string) bool) *resources {
	return &resources{
		mayCall: mayCall, prefix: strconv.FormatInt(started.UnixMilli(), 36) + ".",
		current: map[string]*endpointv3.ClusterLoadAssignment{}, callers: map[string]*cache.LinearCache{},
	}
}

// CreateWatch is called by the stream handler for each request; its node was checked by the tracker.
func (r *resources) CreateWatch(request *cache.Request, sub cache.Subscription, out chan cache.Response) (func(), error) {
	if request.GetTypeUrl() != resource.EndpointType {
		return nil, status.Errorf(codes.InvalidArgument, "control serves %s, not %s", resource.EndpointType, request.GetTypeUrl())
	}
	caller, _, _ := strings.Cut(request.GetNode().GetId(), "/")
	c := r.callerCache(caller)
	if err := r.introduce(c, sub); err != nil {
		return nil, err
	}
	return c.CreateWatch(request, sub, out)
}

// CreateDeltaWatch is not served: a delta is per service anyway, never per endpoint.
func (r *resources) CreateDeltaWatch(*cache.DeltaRequest, cache.Subscription, chan cache.DeltaResponse) (func(), error) {
	return nil, status.Error(codes.Unimplemented, "control serves state of the world only")
}

func (r *resources) callerCache(caller string) *cache.LinearCache {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c, ok := r.callers[caller]; ok {
		return c
	}
	c := cache.NewLinearCache(resource.EndpointType,
		cache.WithVersionPrefix(r.prefix), cache.WithInitialResources(r.seenBy(caller, r.current)))
	r.callers[caller] = c
	return c
}

// introduce answers a service that nobody has registered with an empty one, so that a proxy need not wait to know.
func (r *resources) introduce(c *cache.LinearCache, sub cache.Subscription) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, unknown := c.GetResources(), map[string]types.Resource{}
	for service := range sub.SubscribedResources() {
		if _, ok := known[service]; !ok && len(known)+len(unknown) < mostServices {
			unknown[service] = &endpointv3.ClusterLoadAssignment{ClusterName: service}
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	return c.UpdateResources(unknown, nil)
}

func (r *resources) seenBy(caller string, all map[string]*endpointv3.ClusterLoadAssignment) map[string]types.Resource {
	out := make(map[string]types.Resource, len(all))
	for service, assignment := range all {
		if r.mayCall(caller, service) {
			out[service] = assignment
		} else {
			out[service] = &endpointv3.ClusterLoadAssignment{ClusterName: service}
		}
	}
	return out
}

// update pushes the given services, also when they are equal to what was sent: that is how verdicts are kept alive.
func (r *resources) update(changed map[string]*endpointv3.ClusterLoadAssignment) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var faults []error
	for service, assignment := range changed {
		r.current[service] = assignment
	}
	for caller, c := range r.callers {
		faults = append(faults, c.UpdateResources(r.seenBy(caller, changed), nil))
	}
	return errors.Join(faults...)
}

// refresh sends every caller what changed for it by a new policy.
func (r *resources) refresh() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var faults []error
	for caller, c := range r.callers {
		had, changed := c.GetResources(), map[string]types.Resource{}
		for service, want := range r.seenBy(caller, r.current) {
			if !proto.Equal(had[service], want) {
				changed[service] = want
			}
		}
		if len(changed) > 0 {
			faults = append(faults, c.UpdateResources(changed, nil))
		}
	}
	return errors.Join(faults...)
}
