// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fairlead.dev/fairlead/hack/cluster/internal/layout"
)

// now is when the tests' certificates are made.
var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// parse reads a certificate and checks that its key belongs to it.
func parse(t *testing.T, pair Pair) *x509.Certificate {
	t.Helper()
	if _, err := tls.X509KeyPair(pair.Cert, pair.Key); err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(pair.Cert)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// authority makes an authority and the pool that trusts it.
func authority(t *testing.T) (*Authority, *x509.CertPool) {
	t.Helper()
	a, err := NewAuthority(now)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parse(t, a.Pair()))
	return a, pool
}

func TestServersAreTrustedByEveryNameTheyHave(t *testing.T) {
	t.Parallel()
	a, pool := authority(t)
	tests := []struct {
		name, request string
		want          []string
		wantNot       []string
	}{
		{
			"API server, inside, by Service and by the forwarder", APIServer,
			[]string{
				"127.0.0.1", "10.245.0.1", "10.96.0.1", "localhost", "kubernetes", "kubernetes.default",
				"kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
			},
			[]string{"10.96.0.10", "example.com"},
		},
		{"kubelet", KubeletServer, []string{"10.245.0.1", "fairlead"}, []string{"127.0.0.1", "kubernetes"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			pair, err := a.Issue(requests()[test.request])
			if err != nil {
				t.Fatal(err)
			}
			cert := parse(t, pair)
			verify := func(name string) error {
				_, err := cert.Verify(x509.VerifyOptions{
					Roots: pool, DNSName: name, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
				})
				return err
			}
			for _, name := range test.want {
				if err := verify(name); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			for _, name := range test.wantNot {
				if verify(name) == nil {
					t.Errorf("the certificate is good for %s", name)
				}
			}
		})
	}
}

func TestClientsHaveTheNamesThatKubernetesExpects(t *testing.T) {
	t.Parallel()
	a, pool := authority(t)
	tests := []struct {
		name, want string
		wantGroups []string
	}{
		{Admin, "admin", []string{"system:masters"}},
		{KubeletClient, "kube-apiserver-kubelet-client", []string{"system:masters"}},
		{ControllerManager, "system:kube-controller-manager", nil},
		{Scheduler, "system:kube-scheduler", nil},
		{Proxy, "system:kube-proxy", nil},
		{Kubelet, "system:node:fairlead", []string{"system:nodes"}},
		{FrontProxy, "front-proxy-client", nil},
		{DNS, "system:coredns", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			pair, err := a.Issue(requests()[test.name])
			if err != nil {
				t.Fatal(err)
			}
			cert := parse(t, pair)
			if cert.Subject.CommonName != test.want {
				t.Errorf("got user %q, want %q", cert.Subject.CommonName, test.want)
			}
			if diff := cmp.Diff(test.wantGroups, cert.Subject.Organization); diff != "" {
				t.Errorf("groups (-want +got):\n%s", diff)
			}
			options := x509.VerifyOptions{Roots: pool, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
			if _, err := cert.Verify(options); err != nil {
				t.Error(err)
			}
			options.KeyUsages = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
			if _, err := cert.Verify(options); err == nil {
				t.Error("a client's certificate is good for a server")
			}
		})
	}
}

func TestIssueRefusesWhatIsNoAddress(t *testing.T) {
	t.Parallel()
	a, _ := authority(t)
	if _, err := a.Issue(Request{CommonName: "x", IPs: []string{"10.0.0"}}); err == nil {
		t.Error("want an error")
	}
}

func TestSigningKey(t *testing.T) {
	t.Parallel()
	pair, err := NewSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	public, _ := pem.Decode(pair.Cert)
	private, _ := pem.Decode(pair.Key)
	parsed, err := x509.ParsePKIXPublicKey(public.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.ParseECPrivateKey(private.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := parsed.(*ecdsa.PublicKey); !ok || !got.Equal(&key.PublicKey) {
		t.Error("the public key is not that of the private key")
	}
}

func TestWriteAll(t *testing.T) {
	t.Parallel()
	l := layout.Layout{Root: t.TempDir()}
	if err := WriteAll(l, "127.0.0.1:1234", now); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, path, wantServer, wantUser string }{
		{"outside", l.KubeconfigOutside(), "https://127.0.0.1:1234", "admin"},
		{"inside", l.KubeconfigInside(), "https://10.245.0.1:6443", "admin"},
		{"kubelet", KubeconfigOf(l, Kubelet), "https://10.245.0.1:6443", "kubelet"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var config struct {
				CurrentContext string `json:"current-context"`
				Clusters       []struct {
					Cluster struct {
						Server string
						CA     []byte `json:"certificate-authority-data"`
					}
				}
				Users []struct {
					Name string
					User struct {
						Cert []byte `json:"client-certificate-data"`
						Key  []byte `json:"client-key-data"`
					}
				}
			}
			content, err := os.ReadFile(test.path)
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(content, &config); err != nil {
				t.Fatal(err)
			}
			cluster, user := config.Clusters[0].Cluster, config.Users[0]
			if cluster.Server != test.wantServer || user.Name != test.wantUser || config.CurrentContext != "fairlead" {
				t.Errorf("got server %q, user %q and context %q", cluster.Server, user.Name, config.CurrentContext)
			}
			ca, err := os.ReadFile(l.PKI("ca.crt"))
			if err != nil || !bytes.Equal(ca, cluster.CA) {
				t.Errorf("the kubeconfig trusts another authority than ca.crt (error %v)", err)
			}
			parse(t, Pair{Cert: user.User.Cert, Key: user.User.Key})
		})
	}
	for _, path := range []string{l.PKI("ca.key"), l.PKI("service-account.key"), l.KubeconfigOutside()} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, want only its owner to read it", path, info.Mode().Perm())
		}
	}
}
