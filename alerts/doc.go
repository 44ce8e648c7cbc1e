// Package alerts turns verdicts and conditions into pages: one alert per endpoint that is enforced ejected or degraded,
// or per condition that fires, grouped by service, silenced and de-duplicated by Alertmanager's own packages, and sent
// through the outbox of alerts/notify.
//
// An alert's journey:
//
//  1. Verdict or Condition hands in a change; Run takes it up. incident.go and condition.go say whether it opens,
//     changes or ends an alert.
//  2. The alert is written to the ledger, so that a restart still sends its "resolved", and put into the pipeline.
//  3. pipeline.go: the dispatcher groups by service, waits group_wait for the rest of the incident; inhibition,
//     silences and the notification log decide whether anyone has to be told.
//  4. The outbox makes the notification durable, and the sender posts it.
package alerts
