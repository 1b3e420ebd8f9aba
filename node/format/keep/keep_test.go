package keep

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const fixtures = "../../../../shared/fixtures/notes/obsidianmd__obsidian-importer/keep/"

// everything is a note with all that Takeout is known to write, and something that it is not.
const everything = `{"color":"BLUE","isTrashed":true,"isPinned":true,"isArchived":true,"textContent":"text\r\n# no heading","textContentHtml":"<p><b>text</b></p>",
"listContent":[{"text":"one\ntwo","textHtml":"<p>one</p>","isChecked":false},{"text":"done","isChecked":true}],"title":"T: \"x\"","userEditedTimestampUsec":1690866236591001,"createdTimestampUsec":1690514572858000,
"labels":[{"name":"l1"},{"name":"l2"},{"name":"l1"}],"annotations":[{"description":"d","source":"WEBLINK","title":"Site","url":"https://a.example/"}],"sharees":[{"email":"a@b.example","isOwner":true,"type":"WRITER"}],
"attachments":[{"filePath":"a.png","mimetype":"image/png"},{"filePath":"b.3gp","mimetype":"audio/3gpp"}],"reminders":[{"at":12345678901234567}]}`

func TestEverything(t *testing.T) {
	n, err := Parse([]byte(everything))
	if err != nil {
		t.Fatal(err)
	}
	md := string(n.Markdown())
	for _, want := range []string{"title: 'T: \"x\"'", "created: 2023-07-28T03:22:52.858Z", "updated: 2023-08-01T05:03:56.591001Z", "labels:\n  - l1\n  - l2\n", "color: BLUE", "pinned: true", "archived: true", "trashed: true",
		"source: Google Keep", "url: https://a.example/", "source: WEBLINK", "description: d", "title: Site", "email: a@b.example", "isOwner: true", "at: 12345678901234567", "---\ntext\n# no heading\n\n- [ ] one\n  two\n- [x] done\n"} {
		if !strings.Contains(md, want) {
			t.Errorf("%q is not in\n%s", want, md)
		}
	}
	if len(n.Changes) != 1 || n.Changes[0].Property != "TEXTCONTENTHTML" {
		t.Errorf("changes: %v", n.Changes)
	}
	if len(n.Attachments) != 2 || !n.Attachments[0].IsImage() || n.Attachments[1].IsImage() {
		t.Errorf("attachments: %v", n.Attachments)
	}
}

func TestFixtures(t *testing.T) {
	files, _ := filepath.Glob(fixtures + "notes/*.json")
	if len(files) == 0 {
		t.Skip("the shared fixtures are not there")
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		n, err := Parse(b)
		if err != nil || n.Title == "" || n.Body == "" || n.Created.IsZero() || n.Updated.IsZero() || len(n.Fields) > 0 {
			t.Errorf("%s: %v %+v", file, err, n)
		}
	}
	for _, name := range []string{"broken-json-note.json", "invalid-keep-json-note.json"} {
		b, _ := os.ReadFile(fixtures + name)
		if _, err := Parse(b); !errors.Is(err, ErrForm) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOddTypesAreKept(t *testing.T) {
	n, err := Parse([]byte(`{"title":5,"color":["x"],"isTrashed":"yes","userEditedTimestampUsec":"1690866236591000","createdTimestampUsec":-1,"textContent":{"a":1},"labels":"x","listContent":[{"text":"t","indent":2}],"attachments":[{"filePath":"a","size":3}]}`))
	if err != nil {
		t.Fatal(err)
	}
	md := string(n.Markdown())
	for _, want := range []string{"title: 5", "isTrashed: \"yes\"", "createdTimestampUsec: -1", "indent: 2", "size: 3", "a: 1", "labels: x", "- [ ] t"} {
		if !strings.Contains(md, want) {
			t.Errorf("%q is not in\n%s", want, md)
		}
	}
}

func TestFind(t *testing.T) {
	names := []string{"1690514342456.1074605235.png", "photo.JPG", "a-very-long-name-that-was-cut-b.png", "note.json", "note.html", "twice.png", "twice.jpg"}
	for want, is := range map[string]string{"1690514342456.1074605235.png": names[0], "1690514342456.1074605235.jpeg": names[0], "photo.jpeg": "photo.JPG", "dir/PHOTO.jpg": "photo.JPG",
		"a-very-long-name-that-was-cut-by-takeout.png": names[2], "note.png": "", "twice.gif": "", "../../etc/passwd": "", "none": "", `x\photo.jpg`: "photo.JPG"} {
		if got := Find(names, want); got != is {
			t.Errorf("%s: %q, want %q", want, got, is)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(everything))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, err := Parse(b); err == nil {
			n.Markdown()
		}
	})
}
