// Package control is the mesh's centre: it says who is where and who is who, and tells proxies what to do.
//
//	authority/  who is who: the root's key, join tokens, the Identity service
//	registry/   who is where: leases as data, and the Registry service that keeps them alive
//	steer/      what collectors judged: the lane, the verdicts in force, and the weights that follow from them
//	xds/        what proxies are told, and what they acknowledged
//	publish.go  when to tell them
//	save.go     what a restart goes on with
//	report.go   what collectors are told
//	control.go  wires the above
//
// Requests never pass through control: when it is gone, proxies go on with what they were told last.
package control
