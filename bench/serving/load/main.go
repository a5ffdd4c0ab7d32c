// A load generator for HTTP servers that costs little itself, since it shares the machine with what it measures.
//
// Closed: each connection sends its next request when the last is answered. Open: requests are due at fixed times whatever
// the server does, and a latency counts from when its request was due, so that a stall is felt by all that should have been
// sent during it (no coordinated omission). Prints one line of JSON.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

type report struct {
	Mode        string  `json:"mode"`
	Connections int     `json:"connections"`
	Rate        float64 `json:"rate"`
	Seconds     float64 `json:"seconds"`
	Requests    int     `json:"requests"`
	Failed      int64   `json:"failed"`
	PerSecond   float64 `json:"perSecond"`
	P50Ms       float64 `json:"p50Ms"`
	P99Ms       float64 `json:"p99Ms"`
	P999Ms      float64 `json:"p999Ms"`
	MaxMs       float64 `json:"maxMs"`
	LoadCPU     float64 `json:"loadCpuSeconds"`
	// Refused: 503 and 429, which are failed too
	Refused      int     `json:"refused"`
	RefusedP50Ms float64 `json:"refusedP50Ms"`
	RefusedP99Ms float64 `json:"refusedP99Ms"`
	// of those, the ones that do not say when to try again
	WithoutRetryAfter int64 `json:"withoutRetryAfter"`
	// no answer within ten seconds
	Hung       int64  `json:"hung"`
	FirstError string `json:"firstError"`
}

type client struct {
	address string
	conn    net.Conn
	reader  *bufio.Reader
}

func (c *client) connect() error {
	if c.conn != nil {
		return nil
	}
	conn, err := net.DialTimeout("tcp", c.address, 5*time.Second)
	if err != nil {
		return err
	}
	c.conn, c.reader = conn, bufio.NewReaderSize(conn, 16<<10)
	return nil
}

// An answer other than 200.
type refusal struct {
	line       string
	refused    bool
	retryAfter bool
}

func (r *refusal) Error() string { return r.line }

func (c *client) send(request []byte) error {
	if err := c.connect(); err != nil {
		return err
	}
	err := c.exchange(request)
	var answer *refusal
	if err != nil && !errors.As(err, &answer) {
		c.conn.Close()
		c.conn = nil
	}
	return err
}

func (c *client) exchange(request []byte) error {
	if err := c.conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := c.conn.Write(request); err != nil {
		return err
	}
	status, err := c.reader.ReadSlice('\n')
	if err != nil {
		return err
	}
	ok := len(status) > 12 && string(status[9:12]) == "200"
	line := string(status)
	length, closing, retryAfter := -1, false, false
	for {
		header, err := c.reader.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(header) <= 2 {
			break
		}
		if name, value, found := strings.Cut(string(header), ":"); found {
			switch textproto.CanonicalMIMEHeaderKey(name) {
			case "Content-Length":
				if length, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
					return err
				}
			case "Retry-After":
				retryAfter = true
			case "Connection":
				closing = strings.Contains(strings.ToLower(value), "close")
			}
		}
	}
	if length < 0 {
		return errors.New("an answer without Content-Length")
	}
	if _, err := io.CopyN(io.Discard, c.reader, int64(length)); err != nil {
		return err
	}
	if closing {
		c.conn.Close()
		c.conn = nil
	}
	if !ok {
		line = strings.TrimSpace(line)
		refused := strings.HasPrefix(line[9:], "503") || strings.HasPrefix(line[9:], "429")
		return &refusal{line, refused, retryAfter}
	}
	return nil
}

func main() {
	address := flag.String("address", "127.0.0.1:8090", "host:port")
	path := flag.String("path", "/", "path to POST to")
	file := flag.String("bodies", "", "file with one body a line, sent in rotation")
	connections := flag.Int("connections", 32, "connections")
	rate := flag.Float64("rate", 0, "requests a second, open loop; 0: closed loop")
	seconds := flag.Float64("seconds", 5, "how long to measure")
	warmup := flag.Float64("warmup", 1, "how long to run before")
	header := flag.String("header", "", "a header to send, such as \"x-serin-deadline-ms: 25\"")
	flag.Parse()
	bodies, err := os.ReadFile(*file)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	var requests [][]byte
	if *header != "" {
		*header += "\r\n"
	}
	for _, body := range strings.Split(strings.TrimSpace(string(bodies)), "\n") {
		requests = append(requests, []byte(fmt.Sprintf(
			"POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n%s",
			*path, *address, *header, len(body), body)))
	}
	clients := connectAll(*address, *connections)
	if *warmup > 0 {
		measure(clients, requests, *rate, *warmup)
	}
	json.NewEncoder(os.Stdout).Encode(measure(clients, requests, *rate, *seconds))
}

const acceptedWithin = 200 * time.Microsecond

// Connections stand before the clock starts: what is measured is a server under a steady load, not 256 clients arriving at once.
func connectAll(address string, connections int) []*client {
	clients := make([]*client, connections)
	var connecting sync.WaitGroup
	for w := range clients {
		clients[w] = &client{address: address}
		connecting.Add(1)
		go func(c *client) {
			defer connecting.Done()
			c.connect() // one that fails is tried again by its first request, and counted there
		}(clients[w])
	}
	connecting.Wait()
	// the kernel says that a connection stands before the server has accepted it
	time.Sleep(time.Duration(connections) * acceptedWithin)
	return clients
}

func measure(clients []*client, requests [][]byte, rate, seconds float64) report {
	before := cpuSeconds()
	var failed, hung, silent, next atomic.Int64
	var firstError atomic.Value
	perWorker := make([][]float64, len(clients))
	refusedPerWorker := make([][]float64, len(clients))
	start := time.Now()
	end := start.Add(time.Duration(seconds * float64(time.Second)))
	var due chan time.Time
	if rate > 0 {
		due = make(chan time.Time, 1<<20)
		go schedule(due, start, end, rate)
	}
	var workers sync.WaitGroup
	for w, c := range clients {
		workers.Add(1)
		go func(w int, c *client) {
			defer workers.Done()
			for {
				from := time.Now()
				if due != nil {
					var more bool
					if from, more = <-due; !more {
						break
					}
				} else if from.After(end) {
					break
				}
				err := c.send(requests[int(next.Add(1))%len(requests)])
				ms := float64(time.Since(from).Nanoseconds()) / 1e6
				if err == nil {
					perWorker[w] = append(perWorker[w], ms)
					continue
				}
				failed.Add(1)
				firstError.CompareAndSwap(nil, err.Error())
				var answer *refusal
				if errors.As(err, &answer) && answer.refused {
					refusedPerWorker[w] = append(refusedPerWorker[w], ms)
					if !answer.retryAfter {
						silent.Add(1)
					}
				} else if errors.Is(err, os.ErrDeadlineExceeded) {
					hung.Add(1)
				}
			}
		}(w, c)
	}
	workers.Wait()
	took := time.Since(start).Seconds()
	all, refused := sorted(perWorker), sorted(refusedPerWorker)
	mode := "closed"
	if rate > 0 {
		mode = "open"
	}
	message, _ := firstError.Load().(string)
	return report{
		Mode: mode, Connections: len(clients), Rate: rate, Seconds: took, Requests: len(all), Failed: failed.Load(),
		PerSecond: float64(len(all)) / took, P50Ms: at(all, 0.5), P99Ms: at(all, 0.99), P999Ms: at(all, 0.999),
		MaxMs: at(all, 1), LoadCPU: cpuSeconds() - before, FirstError: message,
		Refused: len(refused), RefusedP50Ms: at(refused, 0.5), RefusedP99Ms: at(refused, 0.99),
		WithoutRetryAfter: silent.Load(), Hung: hung.Load(),
	}
}

func sorted(perWorker [][]float64) []float64 {
	var all []float64
	for _, latencies := range perWorker {
		all = append(all, latencies...)
	}
	sort.Float64s(all)
	return all
}

// Puts the times at which requests are due into the channel as they come.
func schedule(due chan<- time.Time, start, end time.Time, rate float64) {
	defer close(due)
	for i := 0; ; i++ {
		at := start.Add(time.Duration(float64(i) / rate * float64(time.Second)))
		if at.After(end) {
			return
		}
		if wait := time.Until(at); wait > 0 {
			time.Sleep(wait)
		}
		due <- at
	}
}

func at(sorted []float64, share float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	i := int(share * float64(len(sorted)))
	if i >= len(sorted) {
		i = len(sorted) - 1
	}
	return sorted[i]
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}
