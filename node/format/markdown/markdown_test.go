package markdown

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestSplit(t *testing.T) {
	for file, want := range map[string][2]string{
		"---\ntitle: x\n---\nbody":                 {"[title]", "body"},
		"\ufeff---\r\ntitle: x\r\n---\r\nbody":     {"[title]", "body"},
		"---\na: 1\nb: [1, 2]\n...\n\nbody":        {"[a b]", "\nbody"},
		"---\n---\nbody":                           {"[]", "body"},
		"---\ntitle: x\n---":                       {"[title]", ""},
		"no front matter":                          {"nil", "no front matter"},
		"---\nnever closed":                        {"nil", "---\nnever closed"},
		"---\n- a list\n---\nbody":                 {"nil", "---\n- a list\n---\nbody"},
		"---\nbroken: [\n---\nbody":                {"nil", "---\nbroken: [\n---\nbody"},
		"---\nx: " + strings.Repeat("y", MaxFront): {"nil", "---\nx: " + strings.Repeat("y", MaxFront)},
		"": {"nil", ""},
	} {
		front, body := Split([]byte(file))
		keys := "nil"
		if front != nil {
			keys = fmt.Sprint(front.Keys())
		}
		if keys != want[0] || string(body) != want[1] {
			t.Errorf("%.60q: %s %.60q", file, keys, body)
		}
	}
}

func TestFront(t *testing.T) {
	f := NewFront()
	f.Set("title", "yes: # \"no\"\nline")
	f.Set("number", "12")
	f.Set("created", time.Date(2024, 1, 2, 3, 4, 5, 6000, time.UTC))
	f.Set("labels", []string{"a", "true"})
	f.Set("pinned", true)
	f.Set("empty", "")
	f.Set("map", map[string]any{"k": []any{1, "x"}})
	file := Join(f, []byte("body\n"))
	again, body := Split(file)
	if again == nil || string(body) != "body\n" || again.Text("title") != "yes: # \"no\"\nline" || again.Text("created") != "2024-01-02T03:04:05.000006Z" || fmt.Sprint(again.List("labels")) != "[a true]" || again.Text("number") != "12" {
		t.Errorf("%s", file)
	}
	for _, key := range f.Keys() {
		if !f.Same(again, key) {
			t.Errorf("%s is another", key)
		}
	}
	if !bytes.Contains(file, []byte(`number: "12"`)) || len(again.Keys()) != 6 {
		t.Errorf("%s", file)
	}
	if got := Join(NewFront(), body); string(got) != "body\n" {
		t.Errorf("%q", got)
	}
}

// Aliases of aliases are never followed.
func TestAliases(t *testing.T) {
	file := "---\na: &a [x, x]\nb: &b [*a, *a]\n"
	for c := 'c'; c < 'z'; c++ {
		file += fmt.Sprintf("%c: &%c [*%c, *%c]\n", c, c, c-1, c-1)
	}
	front, _ := Split([]byte(file + "---\n"))
	if front == nil || front.Text("z") != "" || front.List("y") != nil || !front.Same(front, "y") {
		t.Error("aliases")
	}
}

func FuzzSplit(f *testing.F) {
	f.Add([]byte("---\ntitle: x\nlabels: [a, b]\n---\nbody"))
	f.Fuzz(func(t *testing.T, file []byte) {
		front, body := Split(file)
		if front == nil {
			return
		}
		again, rest := Split(Join(front, body))
		if len(front.Keys()) > 0 && (again == nil || !bytes.Equal(rest, body)) {
			t.Errorf("%q", Join(front, body))
		}
	})
}
