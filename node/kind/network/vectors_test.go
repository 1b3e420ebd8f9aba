package network

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"slices"
	"testing"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/rule"
)

var update = flag.Bool("update", false, "write the vectors again")

const vectorFile = "testdata/vectors.json"

// vector is one keyfile, what identifies it, and what it becomes in other forms.
type vector struct {
	File       string              `json:"file"`       // below keyfiles
	Identity   string              `json:"identity"`   // hexadecimal
	Secrets    []string            `json:"secrets"`    // properties that are never shown
	Supplicant string              `json:"supplicant"` // the block in wpa_supplicant.conf; "" if it can't be one
	Code       string              `json:"code"`       // the text of the QR code, likewise
	Lost       map[string][]string `json:"lost"`       // by form: properties and what happened to them, or why none is written
}

func vectors(t *testing.T) (all []vector) {
	files := keyfiles(t)
	var names []string
	for n := range files {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		c := Parse(files[n])
		v := vector{File: n, Identity: hex.EncodeToString([]byte(c.Identity())), Lost: map[string][]string{}}
		for _, p := range c.properties() {
			if Secret(p.group, p.key) {
				v.Secrets = append(v.Secrets, p.name())
			}
		}
		if b, why := ToBlock(files[n]); why == "" {
			v.Supplicant = string(b.Bytes())
		}
		if c, why := ToCode(files[n]); why == "" {
			v.Code = c.String()
		}
		for _, form := range []string{Supplicant, Apple, QR} {
			_, changes, ok := Rules{}.Shape(record(n, files[n]), rule.Profile{Version: form})
			for _, c := range changes {
				if !ok {
					v.Lost[form] = append(v.Lost[form], c.Why)
					continue
				}
				v.Lost[form] = append(v.Lost[form], c.Property+" "+item.Effect.String(c.Effect))
			}
		}
		all = append(all, v)
	}
	return all
}

// TestVectors shows that the public vectors are what the code does. With -update it writes them.
func TestVectors(t *testing.T) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "\t")
	if err := e.Encode(vectors(t)); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(vectorFile, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(vectorFile); err != nil || !bytes.Equal(got, b.Bytes()) {
		t.Errorf("%s is not what the code makes (go test -update writes it again): %v", vectorFile, err)
	}
}
