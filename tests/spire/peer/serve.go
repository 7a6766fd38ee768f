package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
)

const handshakeMax = 30 * time.Second

// complaints turns what net/http logs (a refused handshake, above all) into events.
type complaints struct{}

func (complaints) Write(text []byte) (int, error) {
	say("failed", fields{"error": strings.TrimSpace(string(text))})
	return len(text), nil
}

func serve(ctx context.Context, arguments []string) error {
	var from where
	set := flag.NewFlagSet("serve", flag.ContinueOnError)
	from.flags(set)
	listen := set.String("listen", "127.0.0.1:0", "address")
	id := set.String("id", "", "the ID to serve as, where there are several")
	allow := set.String("allow", "", "IDs of clients, with commas")
	target := set.String("target", "", "where requests are passed on to, https://…")
	targetID := set.String("target-id", "", "the ID expected there")
	clientID := set.String("client-id", "", "the ID to ask there as, where there are several")
	if err := set.Parse(arguments); err != nil {
		return err
	}
	if err := required(set, "allow"); err != nil {
		return err
	}
	admit, err := authorizer(*allow)
	if err != nil {
		return err
	}
	own, err := from.open(ctx, *id)
	if err != nil {
		return err
	}
	answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("OK")) })
	if *target != "" {
		if answer, err = passOn(ctx, &from, *target, *targetID, *clientID); err != nil {
			return err
		}
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	say("listening", fields{"address": listener.Addr().String()})
	server := &http.Server{Handler: told(answer), ErrorLog: log.New(complaints{}, "", 0), ReadHeaderTimeout: handshakeMax}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	// go-spiffe offers no ALPN; HTTP/1.1 is what both sides then speak.
	if err = server.Serve(tls.NewListener(listener, tlsconfig.MTLSServerConfig(own, own, admit))); errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// told says each request, with who asked.
func told(answer http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		more := certificate(r.TLS.PeerCertificates[0])
		more["method"], more["path"], more["remote"] = r.Method, r.URL.Path, r.RemoteAddr
		say("request", more)
		answer.ServeHTTP(w, r)
	})
}

// passOn is a client of the address, with an identity of its own.
func passOn(ctx context.Context, from *where, target, targetID, clientID string) (http.HandlerFunc, error) {
	there, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	expected, err := authorizer(targetID)
	if err != nil {
		return nil, err
	}
	own, err := from.open(ctx, clientID)
	if err != nil {
		return nil, err
	}
	proxy := httputil.NewSingleHostReverseProxy(there)
	proxy.Transport = &http.Transport{TLSClientConfig: tlsconfig.MTLSClientConfig(own, own, expected)}
	proxy.ErrorHandler = func(w http.ResponseWriter, r *http.Request, err error) {
		if r.Context().Err() == nil { // whoever asked has not gone away
			say("failed", fields{"error": err.Error(), "method": r.Method, "path": r.URL.Path})
		}
		w.WriteHeader(http.StatusBadGateway)
	}
	return proxy.ServeHTTP, nil
}
