package server

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/decant-dev/decant/proto/wire"
)

// metrics is the server's own registry: several servers can live in one process. No label ever holds a
// session, a peer or an address; docs/OPERATIONS.md lists the names.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	bytes    *prometheus.CounterVec
}

func newMetrics(s *Server) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "decant_requests_total",
			Help: "Requests answered, by method and status."}, []string{"method", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "decant_request_seconds",
			Help: "Time from a request's header to its answer; long polls included.", Buckets: prometheus.ExponentialBuckets(0.0005, 3, 11)}, []string{"method"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "decant_body_bytes_total",
			Help: "Bytes of bodies, in or out, by method."}, []string{"method", "direction"}),
	}
	m.registry.MustRegister(m.requests, m.seconds, m.bytes, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	gauge := func(name, help string, f func() float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f))
	}
	counter := func(name, help string, f func() int64) {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(f()) }))
	}
	gauge("decant_sessions", "Live sessions.", func() float64 { n, _ := s.sessions.Live(); return float64(n) })
	gauge("decant_declared_bytes", "Bytes that live sessions asked room for.", func() float64 { _, n := s.sessions.Live(); return float64(n) })
	gauge("decant_nameplates", "Nameplates in use.", func() float64 { return float64(s.sessions.Nameplates()) })
	gauge("decant_waiting", "Long polls under way.", func() float64 { return float64(s.sessions.Waiting()) })
	gauge("decant_transfers", "Blob bodies on their way.", func() float64 { n, _ := s.api.Transfers(); return float64(n) })
	counter("decant_transfers_displaced_total", "Blob bodies ended because they crawled while others waited for their turn.", func() int64 { _, n := s.api.Transfers(); return n })
	gauge("decant_blobs", "Blobs stored.", func() float64 { return float64(s.blobs.Blobs()) })
	gauge("decant_blob_bytes", "Bytes of blobs stored.", func() float64 { return float64(s.blobs.Bytes()) })
	gauge("decant_disk_free_bytes", "Bytes that the volume has left.", func() float64 { return float64(s.space.Avail()) })
	gauge("decant_database_bytes", "Bytes of the database on disk.", func() float64 { return float64(s.db.Size()) })
	gauge("decant_relay_reservations", "Devices that wait for circuits through the relay.", func() float64 { return float64(s.relay.reservations.Load()) })
	gauge("decant_relay_circuits", "Circuits through the relay.", func() float64 { return float64(s.relay.circuits.Load()) })
	counter("decant_relay_bytes_total", "Bytes relayed between devices, both ways.", s.relay.bytes.Load)
	counter("decant_relay_refused_total", "Circuits refused to devices that share no session, or have no bytes left.", s.relay.refused.Load)
	counter("decant_blobs_rotten_total", "Blobs found damaged on disk.", s.blobs.Rotten)
	counter("decant_sweep_expired_total", "Sessions, nameplates and tombstones whose time was over.", s.sweeper.Expired)
	counter("decant_sweep_dropped_total", "Ended sessions whose blobs were removed.", s.sweeper.Dropped)
	counter("decant_sweep_orphans_total", "Files removed that belonged to no session.", s.sweeper.Orphans)
	counter("decant_sweep_failures_total", "Sweeps that failed and will be tried again.", s.sweeper.Failures)
	return m
}

func (m *metrics) observe(method string, status wire.Status, took time.Duration, in, out int64) {
	m.requests.WithLabelValues(method, status.String()).Inc()
	m.seconds.WithLabelValues(method).Observe(took.Seconds())
	if in > 0 {
		m.bytes.WithLabelValues(method, "in").Add(float64(in))
	}
	if out > 0 {
		m.bytes.WithLabelValues(method, "out").Add(float64(out))
	}
}

// MetricsHandler serves /metrics for Prometheus and /healthz: 200 while the server takes new sessions, 503 with one word of
// reason while it drains or its disk is full. It answers anyone, so it belongs on an address that only the operator reaches.
func (s *Server) MetricsHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		word := s.health()
		if word != "ok" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = w.Write([]byte(word + "\n"))
	})
	return mux
}

func (s *Server) health() string {
	free, _ := s.space.Free()
	switch {
	case s.api.Draining():
		return "draining"
	case free == 0:
		return "disk-full"
	}
	return "ok"
}
