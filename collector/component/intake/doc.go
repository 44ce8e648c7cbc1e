// Package intake is the point of acknowledgement for spans and log records: it appends batches to the stores as the bytes
// they came in, and only what is stored is acknowledged and correlated.
//
// One walk of a batch finds what cannot be kept, the keys under which the batch is to be found, and the facts for
// correlation. Store first, correlate then: what a store refuses is sent again, and must not have been counted.
package intake
