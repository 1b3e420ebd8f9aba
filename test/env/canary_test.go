package env

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// TestC1SearchFindsEveryForm hides one word in each form that the search promises to see through.
func TestC1SearchFindsEveryForm(t *testing.T) {
	c := NewCanaries(64)
	word := c.Words[17]
	noise := bytes.Repeat([]byte("nothing to see here, "), 500)
	reversed := []byte(word)
	slices.Reverse(reversed)
	hidden := map[string][]byte{
		"raw":       []byte(word),
		"hex":       []byte(hex.EncodeToString([]byte(word))),
		"upper hex": []byte(strings.ToUpper(hex.EncodeToString([]byte(word)))),
		"reversed":  reversed,
		"utf-16le":  wide(word, binary.LittleEndian),
		"utf-16be":  wide(word, binary.BigEndian),
		"zstd":      zstded(t, slices.Concat(noise, []byte(word), noise)),
		"gzip":      gzipped(t, slices.Concat(noise, []byte(word), noise)),
		"zstd gzip": zstded(t, slices.Concat(noise, gzipped(t, []byte(word)))),
	}
	for phase := range 3 {
		text := slices.Concat(noise[:3+phase], []byte(word), noise)
		hidden["base64 "+string(rune('0'+phase))] = []byte(base64.StdEncoding.EncodeToString(text))
		hidden["url base64 "+string(rune('0'+phase))] = []byte(base64.URLEncoding.EncodeToString(text))
	}
	for name, form := range hidden {
		if hits := c.SearchBytes(name, slices.Concat(noise, form, noise)); len(hits) == 0 {
			t.Errorf("%s: not found", name)
		}
		if hits := c.SearchBytes(name, slices.Concat(noise, form[:min(len(form)/2, 14)])); len(hits) != 0 {
			t.Errorf("%s: a piece of it counts as found: %v", name, hits)
		}
	}
	if hits := c.SearchBytes("noise", noise); len(hits) != 0 {
		t.Errorf("found where nothing is: %v", hits)
	}
}

// TestC1SearchTree finds a word in a name, across the border of two windows, and in no other file.
func TestC1SearchTree(t *testing.T) {
	c := NewCanaries(4)
	dir := t.TempDir()
	write := func(name string, data []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("clean", bytes.Repeat([]byte{1, 2, 3, 4}, 1000))
	write("named-"+c.Words[0], nil)
	big := make([]byte, 65<<20+100)
	copy(big[65<<20-5:], c.Words[1])
	write("big", big)
	hits, searched, err := c.SearchTree(dir)
	if err != nil || searched != int64(len(big))+4000 {
		t.Fatalf("searched %d bytes, error %v", searched, err)
	}
	where := map[string]bool{}
	for _, h := range hits {
		where[filepath.Base(h.Where)] = true
	}
	if len(where) != 2 || !where["big"] || !where["named-"+c.Words[0]] {
		t.Errorf("found %v", hits)
	}
}

// TestC1SearchMemory finds a word that nothing but another process's memory holds.
func TestC1SearchMemory(t *testing.T) {
	c := NewCanaries(1)
	cmd := exec.Command(Program(t, "cat"))
	cmd.Env = []string{"WORD=" + c.Words[0]}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	hits, searched, err := c.SearchMemory(cmd.Process.Pid)
	in.Close()
	if waited := cmd.Wait(); waited != nil {
		t.Fatal(waited)
	}
	if err != nil {
		t.Skip(err)
	}
	if len(hits) == 0 || searched == 0 {
		t.Errorf("read %d bytes of the process and did not find what it holds", searched)
	}
}

func zstded(t *testing.T, b []byte) []byte {
	t.Helper()
	e, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	return e.EncodeAll(b, nil)
}

func gzipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	w.Write(b)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}
