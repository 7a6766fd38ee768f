// peer: an HTTPS client and server on go-spiffe, which shares no code with Starling. The tests put it at the other end of a connection.
//
//	peer serve   answers OK to whatever is asked; with --target it passes requests on, as a client of its own
//	peer hammer  asks one address again and again, on a new connection each time and on kept ones
//
// Every event is a line of JSON on the standard output, with when it happened (at, in ms). It ends with its standard input, or after --count requests.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
)

type fields map[string]any

var output sync.Mutex

// say prints one event.
func say(event string, more fields) {
	line := fields{"event": event, "at": time.Now().UnixMilli()}
	for name, value := range more {
		line[name] = value
	}
	text, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	output.Lock()
	defer output.Unlock()
	fmt.Println(string(text))
}

// authorizer admits the IDs of a list with commas, and nobody else.
func authorizer(list string) (tlsconfig.Authorizer, error) {
	var ids []spiffeid.ID
	for _, text := range strings.Split(list, ",") {
		id, err := spiffeid.FromString(text)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return tlsconfig.AuthorizeOneOf(ids...), nil
}

// untilStopped ends with the standard input.
func untilStopped() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	return ctx
}

func run(arguments []string) error {
	if len(arguments) == 0 {
		return errors.New("serve or hammer?")
	}
	switch arguments[0] {
	case "serve":
		return serve(untilStopped(), arguments[1:])
	case "hammer":
		return hammer(untilStopped(), arguments[1:])
	}
	return fmt.Errorf("no command %q", arguments[0])
}

func main() {
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		say("error", fields{"error": err.Error()})
		os.Exit(1)
	}
}
