package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"strconv"
	"sync"
	"time"
)

// How the proxy misbehaves; set with POST /set?delay=20ms&fail=0.3 and so on.
type faults struct {
	delay time.Duration // added to every request
	fail  float64       // share of requests answered with 503
	drop  float64       // share of connections closed instead of an answer
	rate  int64         // bytes a second of every answer; 0 is no limit
	down  bool          // every connection closed
}

type state struct {
	sync.Mutex
	counts map[string]int64
	faults faults
}

func (s *state) add(name string, by int64) {
	s.Lock()
	s.counts[name] += by
	s.Unlock()
}

func proxy(arguments []string) error {
	s := &state{counts: map[string]int64{}}
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	control, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("http://%s http://%s\n", front.Addr(), control.Addr())
	go func() { log.Fatal(http.Serve(control, s.control())) }()
	return http.Serve(front, s.handler(arguments[0]))
}

// GET /counts, POST /reset, POST /set.
func (s *state) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /counts", func(w http.ResponseWriter, _ *http.Request) {
		s.Lock()
		defer s.Unlock()
		_ = json.NewEncoder(w).Encode(s.counts)
	})
	mux.HandleFunc("POST /reset", func(http.ResponseWriter, *http.Request) {
		s.Lock()
		defer s.Unlock()
		s.counts = map[string]int64{}
	})
	mux.HandleFunc("POST /set", func(w http.ResponseWriter, r *http.Request) {
		set, err := parse(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.Lock()
		defer s.Unlock()
		s.faults = set
	})
	return mux
}

func parse(r *http.Request) (f faults, err error) {
	for name, values := range r.URL.Query() {
		switch text := values[0]; name {
		case "delay":
			f.delay, err = time.ParseDuration(text)
		case "fail":
			f.fail, err = strconv.ParseFloat(text, 64)
		case "drop":
			f.drop, err = strconv.ParseFloat(text, 64)
		case "rate":
			f.rate, err = strconv.ParseInt(text, 10, 64)
		case "down":
			f.down, err = strconv.ParseBool(text)
		default:
			err = fmt.Errorf("unknown setting %q", name)
		}
		if err != nil {
			return f, err
		}
	}
	return f, nil
}

type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte     { return *b.pool.Get().(*[]byte) }
func (b *buffers) Put(back []byte) { b.pool.Put(&back) }

// The Host header stays the proxy's: it is part of what a client signed.
func (s *state) handler(target string) http.Handler {
	onward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "http", target, r.In.Host
		},
		Transport: &http.Transport{
			MaxIdleConns: 0, MaxIdleConnsPerHost: 256, DisableCompression: true,
			ReadBufferSize: 1 << 18, WriteBufferSize: 1 << 18,
		},
		BufferPool: &buffers{sync.Pool{New: func() any { b := make([]byte, 1<<18); return &b }}},
		ErrorLog:   log.New(io.Discard, "", 0),
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.Lock()
		f := s.faults
		s.counts["requests"]++
		s.counts[r.Method]++
		s.Unlock()
		time.Sleep(f.delay)
		switch {
		case f.down || rand.Float64() < f.drop:
			s.add("dropped", 1)
			panic(http.ErrAbortHandler)
		case rand.Float64() < f.fail:
			s.add("failed", 1)
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			onward.ServeHTTP(&counted{w, s, f.rate, time.Now(), 0}, r)
		}
	})
}

// An answer whose bytes are counted and, where told, held to a rate.
type counted struct {
	http.ResponseWriter
	state *state
	rate  int64
	began time.Time
	sent  int64
}

func (c *counted) Write(bytes []byte) (int, error) {
	n, err := c.ResponseWriter.Write(bytes)
	c.sent += int64(n)
	c.state.add("bytes", int64(n))
	if c.rate > 0 {
		due := time.Duration(float64(c.sent) / float64(c.rate) * float64(time.Second))
		time.Sleep(due - time.Since(c.began))
	}
	return n, err
}

func (c *counted) Unwrap() http.ResponseWriter { return c.ResponseWriter }
