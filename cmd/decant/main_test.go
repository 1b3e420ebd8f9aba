package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/decant-dev/decant/cmd/decant/internal/ui"
	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "write the output that scripts compare with")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"decant": main})
}

// TestScripts runs the commands as a person does. Beside testscript's own words:
//
//	server          starts a server in this process and sets $DECANT_SERVER
//	stopserver      stops it; server starts it again with its state and address
//	events PIPE     reads --json events from PIPE until a code or ticket comes, leaves it in the files code, link,
//	                ticket and uri, and goes on reading into PIPE.json
//	wrong FILE      replaces the last word in FILE by another one
//	exit N          runs the rest of the line, which must end with that exit code
//	tree DIR        puts a small collection into DIR
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           filepath.Join("testdata", "script"),
		UpdateScripts: *update,
		Setup: func(e *testscript.Env) error {
			e.Setenv("XDG_CONFIG_HOME", filepath.Join(e.WorkDir, ".config"))
			e.Setenv("XDG_STATE_HOME", filepath.Join(e.WorkDir, ".state"))
			e.Setenv("NO_COLOR", "1")
			e.Setenv("DECANT_ROUTE", "stored") // other devices on this network are none of the tests' business
			e.Values[serverValue{}] = &scriptServer{}
			return nil
		},
		Condition: func(cond string) (bool, error) {
			return cond == "root" && os.Geteuid() == 0 && runtime.GOOS != "windows", nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"server": cmdServer, "stopserver": cmdStopServer, "events": cmdEvents, "wrong": cmdWrong, "exit": cmdExit, "tree": cmdTree,
		},
	})
}

type serverValue struct{}

type scriptServer struct {
	running *running
	listen  string
}

func cmdServer(ts *testscript.TestScript, neg bool, args []string) {
	v := ts.Value(serverValue{}).(*scriptServer)
	if v.listen == "" {
		v.listen = "127.0.0.1:0"
	}
	s, err := startServer(serveFlags{listen: v.listen, data: ts.MkAbs("server"), watermark: 1, fastOnly: true}, slog.New(slog.DiscardHandler),
		func(message string) { panic(message) })
	ts.Check(err)
	srv := s.link.Server()
	v.running, v.listen = s, srv.HostPort()
	ts.Setenv("DECANT_SERVER", srv.String())
	ts.Defer(func() {
		if v.running == s {
			s.Close()
		}
	})
}

func cmdStopServer(ts *testscript.TestScript, neg bool, args []string) {
	v := ts.Value(serverValue{}).(*scriptServer)
	ts.Check(v.running.Close())
	v.running = nil
}

func cmdEvents(ts *testscript.TestScript, neg bool, args []string) {
	f, err := os.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	out, err := os.Create(ts.MkAbs(args[0] + ".json"))
	ts.Check(err)
	r := bufio.NewReader(f)
	for {
		line, err := r.ReadString('\n')
		io.WriteString(out, line)
		if err != nil {
			ts.Fatalf("no code and no ticket came: %v", err)
		}
		var e ui.Event
		ts.Check(json.Unmarshal([]byte(line), &e))
		if p := e.Pairing; p != nil {
			for name, text := range map[string]string{"code": p.Code, "link": p.Link, "ticket": p.Ticket, "uri": p.URI} {
				ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text+"\n"), 0o600))
			}
			break
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(out, r)
		f.Close()
		out.Close()
	}()
	ts.Defer(func() { <-done })
}

// cmdWrong keeps a ticket's checksum out of the way by taking words from the list that fit nowhere.
func cmdWrong(ts *testscript.TestScript, neg bool, args []string) {
	text := strings.TrimSpace(ts.ReadFile(args[0]))
	i := strings.LastIndexAny(text, "- ")
	word := "zoo"
	if text[i+1:] == word {
		word = "abandon"
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text[:i+1]+word+"\n"), 0o600))
}

func cmdExit(ts *testscript.TestScript, neg bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		got = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if got != args[0] {
		ts.Fatalf("exit code %s, want %s", got, args[0])
	}
}

func cmdTree(ts *testscript.TestScript, neg bool, args []string) {
	dir := ts.MkAbs(args[0])
	for path, data := range map[string]string{
		"notes.txt":        "something to read\n",
		"empty":            "",
		"deep/er/file.bin": strings.Repeat("0123456789abcdef", 20_000),
		"people.vcf":       "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:1\r\nFN:Ada\r\nEND:VCARD\r\nBEGIN:VCARD\r\nVERSION:3.0\r\nUID:2\r\nFN:Bob\r\nEND:VCARD\r\n",
	} {
		path = filepath.Join(dir, filepath.FromSlash(path))
		ts.Check(os.MkdirAll(filepath.Dir(path), 0o755))
		ts.Check(os.WriteFile(path, []byte(data), 0o644))
	}
}
