// Package authority says who is who in the mesh: it signs certificates for those who prove their identity.
//
//	issue.go  the Identity service: which proof is good for which identity
//	ca.go     the root, on disk, and its key, which only its user may read
//	join.go   one-time join tokens, of which only hashes are kept
package authority
