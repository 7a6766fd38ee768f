package main

import (
	"context"
	"flag"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
)

func hammer(ctx context.Context, arguments []string) error {
	var from where
	set := flag.NewFlagSet("hammer", flag.ContinueOnError)
	from.flags(set)
	address := set.String("url", "", "what is asked for")
	id := set.String("id", "", "the ID to ask as, where there are several")
	allow := set.String("allow", "", "IDs of servers, with commas")
	every := set.Duration("every", 100*time.Millisecond, "between two requests of a kind")
	within := set.Duration("within", 30*time.Second, "how long one request may take")
	count := set.Int("count", 0, "requests of each kind; 0: until it is stopped")
	if err := set.Parse(arguments); err != nil {
		return err
	}
	if err := required(set, "url", "allow"); err != nil {
		return err
	}
	expect, err := authorizer(*allow)
	if err != nil {
		return err
	}
	own, err := from.open(ctx, *id)
	if err != nil {
		return err
	}
	var both sync.WaitGroup
	for _, kept := range []bool{false, true} {
		client := &http.Client{Timeout: *within,
			Transport: &http.Transport{TLSClientConfig: tlsconfig.MTLSClientConfig(own, own, expect), DisableKeepAlives: !kept}}
		both.Go(func() {
			ticks := time.NewTicker(*every)
			defer ticks.Stop()
			for asked := 0; *count == 0 || asked < *count; asked++ {
				ask(ctx, client, *address, kept)
				select {
				case <-ctx.Done():
					return
				case <-ticks.C:
				}
			}
		})
	}
	both.Wait()
	return nil
}

// ask says how one request went.
func ask(ctx context.Context, client *http.Client, address string, kept bool) {
	more := fields{"kept": kept, "reused": false}
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(got httptrace.GotConnInfo) { more["reused"] = got.Reused }})
	request, err := http.NewRequestWithContext(traced, http.MethodGet, address, nil)
	if err != nil {
		panic(err)
	}
	answer, err := client.Do(request)
	if err == nil {
		_, err = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
	}
	switch {
	case ctx.Err() != nil: // stopped meanwhile
	case err != nil:
		more["error"] = err.Error()
		say("failed", more)
	default:
		for name, value := range certificate(answer.TLS.PeerCertificates[0]) {
			more[name] = value
		}
		more["status"] = answer.StatusCode
		say("answer", more)
	}
}
