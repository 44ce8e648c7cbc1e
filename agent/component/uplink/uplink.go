package uplink

import (
	"context"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"go.uber.org/zap"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"
)

// maxMessage is what agent and collector take in one message, uncompressed.
const maxMessage = 64 << 20

// uplink carries one signal.
type uplink struct {
	cfg  *Config
	log  *zap.Logger
	conn *grpc.ClientConn
}

func newUplink(cfg component.Config, set exporter.Settings) *uplink {
	return &uplink{cfg: cfg.(*Config), log: set.Logger}
}

// start dials nothing yet: gRPC connects with the first export, and again within ReconnectWithin whenever it lost the
// collector.
func (u *uplink) start(context.Context, component.Host) error {
	retry := backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: u.cfg.ReconnectWithin}
	transport := insecure.NewCredentials()
	if u.cfg.TLS {
		transport = credentials.NewTLS(nil)
	}
	calls := []grpc.CallOption{grpc.MaxCallSendMsgSize(maxMessage)}
	if u.cfg.Compression == gzip.Name {
		calls = append(calls, grpc.UseCompressor(gzip.Name))
	}
	var err error
	u.conn, err = grpc.NewClient(u.cfg.Endpoint, grpc.WithTransportCredentials(transport),
		grpc.WithDefaultCallOptions(calls...), grpc.WithUserAgent("weft-agent"),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: retry, MinConnectTimeout: 2 * time.Second}))
	return err
}

func (u *uplink) shutdown(context.Context) error {
	if u.conn == nil {
		return nil
	}
	return u.conn.Close()
}

func (u *uplink) traces(ctx context.Context, batch ptrace.Traces) error {
	answer, err := ptraceotlp.NewGRPCClient(u.conn).Export(ctx, ptraceotlp.NewExportRequestFromTraces(batch))
	if err == nil {
		u.rejected("spans", answer.PartialSuccess().RejectedSpans(), answer.PartialSuccess().ErrorMessage())
	}
	return verdict(err)
}

func (u *uplink) logs(ctx context.Context, batch plog.Logs) error {
	answer, err := plogotlp.NewGRPCClient(u.conn).Export(ctx, plogotlp.NewExportRequestFromLogs(batch))
	if err == nil {
		u.rejected("log records", answer.PartialSuccess().RejectedLogRecords(), answer.PartialSuccess().ErrorMessage())
	}
	return verdict(err)
}

func (u *uplink) metrics(ctx context.Context, batch pmetric.Metrics) error {
	answer, err := pmetricotlp.NewGRPCClient(u.conn).Export(ctx, pmetricotlp.NewExportRequestFromMetrics(batch))
	if err == nil {
		u.rejected("data points", answer.PartialSuccess().RejectedDataPoints(), answer.PartialSuccess().ErrorMessage())
	}
	return verdict(err)
}

func (u *uplink) rejected(what string, n int64, why string) {
	if n > 0 {
		u.log.Warn("collector rejected part of a batch", zap.String("what", what), zap.Int64("count", n), zap.String("reason", why))
	}
}

// verdict sorts the collector's answers: success, InvalidArgument (the collector will never take it), and all others,
// which are retried when the collector asks for it or else with back-off.
func verdict(err error) error {
	if err == nil {
		return nil
	}
	answer := status.Convert(err)
	if answer.Code() == codes.InvalidArgument {
		return consumererror.NewPermanent(err)
	}
	for _, detail := range answer.Details() {
		if retry, ok := detail.(*errdetails.RetryInfo); ok && retry.GetRetryDelay().AsDuration() > 0 {
			return exporterhelper.NewThrottleRetry(err, retry.GetRetryDelay().AsDuration())
		}
	}
	return err
}
