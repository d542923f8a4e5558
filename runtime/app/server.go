// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fairlead.dev/fairlead/runtime/config"
	"fairlead.dev/fairlead/runtime/internal/admin"
	"fairlead.dev/fairlead/runtime/internal/auth"
	"fairlead.dev/fairlead/runtime/internal/catalog"
	"fairlead.dev/fairlead/runtime/internal/engine"
	"fairlead.dev/fairlead/runtime/internal/httpserver"
	"fairlead.dev/fairlead/runtime/internal/limit"
	"fairlead.dev/fairlead/runtime/internal/park"
	"fairlead.dev/fairlead/runtime/internal/peer"
	"fairlead.dev/fairlead/runtime/internal/poll"
	"fairlead.dev/fairlead/runtime/internal/session"
	"fairlead.dev/fairlead/runtime/internal/stream"
	"fairlead.dev/fairlead/runtime/internal/telemetry"
	"fairlead.dev/fairlead/runtime/internal/transport"
	"fairlead.dev/fairlead/runtime/internal/transport/sse"
	"fairlead.dev/fairlead/runtime/internal/transport/stateless"
	"fairlead.dev/fairlead/runtime/internal/transport/streamable"
	"fairlead.dev/fairlead/runtime/keyring"
)

// readTimeout bounds how long a client may take to send a body.
const readTimeout = 30 * time.Second

// server is the running whole.
type server struct {
	options  Options
	level    *slog.LevelVar
	logger   *slog.Logger
	loopback bool
	started  time.Time

	registry  *prometheus.Registry
	metrics   *telemetry.Metrics
	limits    *limit.Limiter
	pressure  *limit.Pressure
	bytes     *limit.Bytes
	returner  *returner
	keys      *auth.Keys
	engine    *engine.Engine
	sealer    *session.Sealer
	sessions  *session.Registry
	poller    *poll.Poller // nil where the system has none
	streams   *stream.Host
	parked    *park.Listener // where connections come from
	core      *transport.Core
	stateless *stateless.Transport
	handler   *httpserver.Handler
	// links are nil where there are no other replicas.
	links *peer.Links
	// news tells announcing that there is something to announce.
	news news

	draining    atomic.Bool
	configError atomic.Pointer[string]
	drain       atomic.Pointer[Drain]

	// held is what /status tells of Secrets.
	held atomic.Pointer[held]

	swapping sync.Mutex // guards what follows; held by whoever applies a file
	sum      [sha256.Size]byte
	config   *config.Server
	catalog  *catalog.Catalog
	ring     keyring.Ring
}

func newServer(ctx context.Context, o Options, level *slog.LevelVar, first loaded, loopback bool, peers *peerPort) (*server, error) {
	c := first.program.Server
	s := &server{options: o, level: level, logger: o.Logger, loopback: loopback, started: time.Now(), sum: first.sum, config: c}
	s.news.wake = make(chan struct{}, 1)
	s.pressure = limit.NewPressure(o.Root)
	s.bytes = transport.NewBudget(byteBudget(s.pressure.Limit()), c.Limits.MaxRequestSize)
	tools, err := catalog.Build(first.program, nil, s.deps())
	if err != nil {
		return nil, fmt.Errorf("failed to build the tools of %q: %w", o.ConfigFile, err)
	}
	s.catalog = tools
	s.registry = prometheus.NewRegistry()
	s.metrics = telemetry.New(s.registry, o.Version)
	s.limits = limit.New(limitConfig(c))
	s.limits.Heed(s.pressure)
	s.metrics.ReadMemory(s.pressure.Ratio)
	s.returner = newReturner(s.freeMemory)
	s.returner.act() // What only the start needed is given back too.
	ring, ringErr := s.loadRing()
	s.ring = ring
	var report auth.Report
	s.keys, report = auth.New(s.rules(), o.SecretsDir)
	revision := s.revision(c, tools)
	s.engine = engine.New(engine.Options{
		Catalog: tools, Policy: revision.Policy, Info: revision.Info, AllowTrace: revision.AllowTrace,
		Limits: s.limits, Observer: s.metrics, Logger: o.Logger,
	})
	s.sealer = session.NewSealer(c.UID, s.ring, session.NewOwner(peers.address()))
	s.sessions = session.New(s.sealer, sessionOptions(c), sessionActs{s.metrics, s.returner})
	s.sessions.Revision = s.engine.Revision
	boundHeap(s.pressure.Limit(), os.Getenv)
	paceCollector(ctx, os.Getenv)
	if s.poller, err = poll.New(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return nil, err
	}
	s.streams = stream.NewHost(stream.HostOptions{Poller: s.poller, Return: s.returnConn})
	s.core = transport.New(transport.Options{
		Engine: s.engine, Sessions: s.sessions, Streams: s.limits, Settings: settings(c), Logger: o.Logger,
		Observer: s.metrics, Queued: s.metrics.OutboxBytes, Refused: s.metrics.Rejected,
		Budget: s.bytes, Host: s.streams,
	})
	s.stateless = stateless.New(s.core)
	if s.links, err = s.newLinks(peers); err != nil {
		return nil, errors.Join(err, s.close(ctx))
	}
	s.handler = httpserver.New(httpserver.Options{
		Core: s.core, SSE: sse.New(s.core), Streamable: streamable.New(s.core), Stateless: s.stateless,
		Auth: s.keys, Logger: o.Logger, Access: s.access(c), InFlight: s.countRequest,
		Router: s.router(), Vouch: s.keys.Vouch,
	})
	s.configured(ctx, c, first.err)
	s.hold(ctx, report, ringErr)
	return s, nil
}

func (s *server) countRequest(delta int) {
	s.metrics.InFlight(delta)
	s.returner.act()
}

// close ends what newServer began, at once.
func (s *server) close(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	// It waits for streams that a drain has not ended, which are cut now.
	_ = s.streams.Close(ctx)
	if s.poller == nil {
		return nil
	}
	return s.poller.Close()
}

// rules are who is let in, by the configuration and the session keys of now.
func (s *server) rules() auth.Rules {
	return auth.Rules{Auth: s.config.Auth, UID: s.config.UID, Ring: s.ring}
}

func (s *server) deps() catalog.Deps {
	return catalog.Deps{SecretsDir: s.options.SecretsDir, AllowLoopback: s.options.AllowLoopback, Version: s.options.Version, Held: s.bytes}
}

func (s *server) revision(c *config.Server, tools *catalog.Catalog) engine.Revision {
	return engine.Revision{
		Catalog: tools,
		Policy:  auth.NewPolicy(c.Auth),
		Info: engine.Info{
			Name: cmp.Or(c.Name, "fairlead"), Title: c.Title, Version: s.options.Version, Instructions: c.Instructions,
		},
		AllowTrace: s.options.Trace || c.Logging.Level == config.LevelDebug,
	}
}

func (s *server) access(c *config.Server) httpserver.Access {
	return httpserver.Access{
		Hosts: c.Exposure.Hosts, Origins: c.Browser.AllowedOrigins, Prefix: c.Exposure.Path,
		// A page in a browser sends no credentials that it does not have, but
		// needs none where anonymous access is allowed, nor to reach a server
		// that counts on being out of reach.
		EnforceHost: s.loopback || c.Auth.AnonymousAccess == config.AccessAllowed,
	}
}

func limitConfig(c *config.Server) limit.Config {
	return limit.Config{
		Calls: c.Limits.MaxInFlightCalls, CallsPerPrincipal: c.Limits.MaxInFlightPerPrincipal,
		Streams: c.Limits.Connections.PerReplica,
	}
}

func sessionOptions(c *config.Server) session.Options {
	return session.Options{
		Max: c.Limits.Sessions.Max, IdleTimeout: time.Duration(c.Limits.Sessions.IdleTimeout),
		MaxAge: time.Duration(c.Limits.Sessions.MaxAge),
	}
}

func settings(c *config.Server) transport.Settings {
	return transport.Settings{
		Heartbeat: time.Duration(c.Transports.Heartbeat), WriteTimeout: stream.DefaultWriteTimeout, ReadTimeout: readTimeout,
		MaxRequestSize: c.Limits.MaxRequestSize, CompressMinSize: c.Transports.Compression.MinSize, SSEMode: c.Transports.SSE.Mode,
	}
}

// configured notes what is served from now on, and why it may not be the newest.
func (s *server) configured(ctx context.Context, c *config.Server, newer error) {
	s.drain.Store(&Drain{
		Settle: time.Duration(c.Drain.Settle), Window: time.Duration(c.Drain.Window), CallTimeout: time.Duration(c.Drain.CallTimeout),
	})
	if level, err := telemetry.ParseLevel(c.Logging.Level); err == nil {
		s.level.Set(level)
	}
	s.metrics.SetTools(s.catalog.Names())
	s.metrics.MaxStreams(c.Limits.Connections.PerReplica)
	s.metrics.ConfigApplied(c.Revision)
	s.refused(ctx, newer)
}

// maxConfigError bounds the reason why a file is refused, in bytes: whoever asks
// for the status reads at most 64 KiB.
const maxConfigError = 8 << 10

func clip(text string) string {
	if len(text) <= maxConfigError {
		return text
	}
	return strings.ToValidUTF8(text[:maxConfigError], "") + " …"
}

// refused notes why the newest file is not served; nil says that it is.
func (s *server) refused(ctx context.Context, err error) {
	text := ""
	if err != nil {
		text = clip(err.Error())
		s.metrics.ConfigRefused()
		s.logger.ErrorContext(ctx, "Refused a configuration, an older revision is served", "error", err)
	}
	s.configError.Store(&text)
}

func (s *server) adminHandler() http.Handler {
	return admin.Handler(admin.Options{Status: s.status, Gatherer: s.registry})
}

func (s *server) status() admin.Status {
	calls, streams := s.limits.Usage()
	held := s.held.Load()
	return admin.Status{
		Revision: s.engine.Revision(), ConfigError: *s.configError.Load(), Tools: s.engine.Tools(),
		Sessions: s.sessions.Count(), Streams: streams, InFlight: calls,
		Draining: s.draining.Load(), StartedAt: s.started,
		KeyIDs: held.keyIDs, Problems: held.problems, Version: s.options.Version, Contracts: contracts(),
	}
}

// contracts are the versions of server.yaml that this program reads, ascending.
func contracts() []int {
	var all []int
	for v := config.OldestContract; v <= config.ContractVersion; v++ {
		all = append(all, v)
	}
	return all
}
