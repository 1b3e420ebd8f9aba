package takeout

import (
	"testing"
	"time"
)

func TestMatch(t *testing.T) {
	long := "PXL_20230506_070809123.PORTRAIT-01.COVER_long_name_of_file"
	for _, c := range []struct{ photo, sidecar string }{
		{"x.jpg", "x.jpg.json"}, {"x.jpg", "x.jpg.supplemental-metadata.json"}, {"x.jpg", "x.jpg.supplemental-me.json"}, {"x.jpg", "x.jpg.s.json"}, {"x.jpg", "x.jpg..json"},
		{"x(1).jpg", "x.jpg(1).json"}, {"x(1).jpg", "x.jpg.supplemental-metadata(1).json"}, {"x(12).jpg", "x.jpg.supp(12).json"},
		{long + ".jpg", long[:46] + ".json"}, {long + "(2).jpg", long[:46] + "(2).json"}, {"x-edited.jpg", "x.jpg.json"}, {"x.MP4", "x.HEIC.json"},
		{"Ä ö.jpg", "Ä ö.jpg.json"}, {"", "métadonnées.json"}, {"", "x.json"}, {"", "y.jpg.json"},
	} {
		photos := []string{"x.jpg", "x(1).jpg", "x(12).jpg", "x.HEIC", "x.MP4", long + ".jpg", long + "(2).jpg", "x-edited.jpg", "Ä ö.jpg"}
		if c.sidecar == "x.HEIC.json" {
			photos = []string{"x.HEIC", "x.MP4"}
		}
		got := Match(photos, []string{c.sidecar}, nil)
		if c.photo == "" && len(got) != 0 || c.photo != "" && got[c.photo] != c.sidecar {
			t.Errorf("%s: %v, want it with %q", c.sidecar, got, c.photo)
		}
		if c.photo == "x.jpg" && (got["x(1).jpg"] != "" || got["x(12).jpg"] != "") {
			t.Errorf("%s: %v", c.sidecar, got)
		}
	}
	a, b := long+"_A.jpg", long+"_B.jpg"
	if got := Match([]string{a, b}, []string{long[:46] + ".json"}, nil); len(got) != 0 {
		t.Errorf("a name that fits both: %v", got)
	}
	if got := Match([]string{a, b}, []string{long[:46] + ".json"}, map[string]string{long[:46] + ".json": b}); len(got) != 1 || got[b] == "" {
		t.Errorf("its title says which: %v", got)
	}
}

func TestParse(t *testing.T) {
	s, ok := Parse([]byte(`{"title":"x.jpg","photoTakenTime":{"timestamp":"1683356889","formatted":"6 May 2023"},"geoData":{"latitude":1.5}}`))
	if !ok || s.Title != "x.jpg" || !s.Taken.Equal(time.Unix(1683356889, 0)) {
		t.Errorf("%+v %v", s, ok)
	}
	for _, none := range []string{"", "{}", `{"title":"Album","date":{"timestamp":"1"}}`, "[]", `{"photoTakenTime":"x"}`} {
		if s, ok := Parse([]byte(none)); ok {
			t.Errorf("%s: %+v", none, s)
		}
	}
	if s, ok := Parse([]byte(`{"photoTakenTime":{"timestamp":"99999999999999"}}`)); !ok || !s.Taken.IsZero() {
		t.Errorf("%+v", s)
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("x(1).jpg", "x.jpg(1).json", `{"title":"x"}`)
	f.Fuzz(func(t *testing.T, photo, sidecar, title string) {
		if IsSidecarName(sidecar) {
			Match([]string{photo, photo + "x", "x(1).jpg"}, []string{sidecar}, map[string]string{sidecar: title})
		}
		Parse([]byte(title))
		IsKeep([]byte(title))
	})
}
