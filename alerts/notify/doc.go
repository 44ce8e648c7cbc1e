// Package notify gets a notification to its receiver: the outbox between Alertmanager's pipeline and the webhook.
//
// A notification passes three hands, and a crash between any two loses nothing:
//
//  1. Outbox.Notify, called by Alertmanager's retry stage, writes one durable record that holds the alerts, the
//     context values needed to render them, and the notification log's entry. One record, because a crash between
//     two would send the page twice or not at all.
//  2. Sender.Run takes what is due, in order within a group, and posts it. It retries until the receiver accepts it
//     or refuses it for good; the Idempotency-Key header is the same on every try.
//  3. The ledger notes that it was sent, or files it as a dead letter that a person can see.
package notify
