// Package control is the mesh's centre: who is where, who is who, and what proxies are told.
//
//	ca.go join.go issue.go     who is who: the authority's key, one-time join tokens, the Identity service
//	registry.go lease.go       who is where: leases as data, then the Registry service that keeps them alive
//	ledger.go lane.go          what the collectors judged: verdicts as data, then the stream they come on
//	steer.go                   pure: endpoints and verdicts in, what proxies shall do out (the panic share is applied here)
//	xds.go track.go publish.go what proxies are told: EDS resources, who acknowledged them, and when to push
//	control.go                 wires the above
//
// Requests never pass through control: when it is gone, proxies go on with what they were told last.
package control
