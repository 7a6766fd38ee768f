package main

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// where an identity comes from: a Workload API, or PEM files.
type where struct {
	socket, cert, key, bundle, domain string
}

func (w *where) flags(set *flag.FlagSet) {
	set.StringVar(&w.socket, "socket", "", "address of the Workload API, unix:///…")
	set.StringVar(&w.cert, "cert", "", "PEM file of a certificate, in place of the Workload API")
	set.StringVar(&w.key, "key", "", "PEM file of its key")
	set.StringVar(&w.bundle, "bundle", "", "PEM file of CA certificates that others are believed by")
	set.StringVar(&w.domain, "bundle-of", "", "the trust domain of the bundle, if it is another than the certificate's")
}

// source is an identity: the certificate that is shown, and the bundles that others are believed by.
type source interface {
	x509svid.Source
	x509bundle.Source
}

type files struct {
	*x509svid.SVID
	*x509bundle.Bundle
}

// open gives the identity with this ID ("": the first), and says each change of it. PEM files are read once.
func (w *where) open(ctx context.Context, id string) (source, error) {
	if w.socket == "" {
		svid, err := x509svid.Load(w.cert, w.key)
		if err != nil {
			return nil, err
		}
		domain := svid.ID.TrustDomain()
		if w.domain != "" {
			if domain, err = spiffeid.TrustDomainFromString(w.domain); err != nil {
				return nil, err
			}
		}
		bundle, err := x509bundle.Load(domain, w.bundle)
		if err != nil {
			return nil, err
		}
		if id != "" && svid.ID.String() != id {
			return nil, fmt.Errorf("%s is of %s, not of %s", w.cert, svid.ID, id)
		}
		return files{svid, bundle}, nil
	}
	pick := func(svids []*x509svid.SVID) *x509svid.SVID {
		for _, svid := range svids {
			if id == "" || svid.ID.String() == id {
				return svid
			}
		}
		return nil
	}
	live, err := workloadapi.NewX509Source(ctx, workloadapi.WithClientOptions(workloadapi.WithAddr(w.socket)),
		workloadapi.WithDefaultX509SVIDPicker(pick))
	if err != nil {
		return nil, err
	}
	tell(live)
	go func() {
		for live.WaitUntilUpdated(ctx) == nil {
			tell(live)
		}
	}()
	return live, nil
}

// tell says what the source holds now.
func tell(from source) {
	svid, err := from.GetX509SVID()
	if err != nil {
		say("identity", fields{"error": err.Error()})
		return
	}
	bundle, err := from.GetX509BundleForTrustDomain(svid.ID.TrustDomain())
	if err != nil {
		say("identity", fields{"error": err.Error()})
		return
	}
	more := certificate(svid.Certificates[0])
	more["roots"] = len(bundle.X509Authorities())
	say("identity", more)
}

// certificate tells a certificate by what identifies it and its CA.
func certificate(leaf *x509.Certificate) fields {
	id, err := x509svid.IDFromCert(leaf)
	if err != nil {
		return fields{"id": "", "error": err.Error()}
	}
	return fields{"id": id.String(), "serial": leaf.SerialNumber.Text(16), "issuer": hex.EncodeToString(leaf.AuthorityKeyId),
		"not_after": leaf.NotAfter.Unix()}
}

// required names the first flag that is missing.
func required(set *flag.FlagSet, names ...string) error {
	for _, name := range names {
		if set.Lookup(name).Value.String() == "" {
			return errors.New("--" + name + " is missing")
		}
	}
	return nil
}
