package bookmark

import (
	"encoding/json"
	"errors"
)

// Object is a node of the JSON trees that browsers write: an object whose member children
// is an array of such objects.
type Object struct {
	Members  map[string]json.RawMessage // but for children
	Children []*Object
}

// ErrObject is returned for JSON that is no such tree.
var ErrObject = errors.New("it is no tree of bookmarks")

// maxNesting is how deep objects may lie in one another; a Builder takes fewer.
const maxNesting = 1000

// Members reads an object and calls member before the value of each, which it reads.
func Members(d *json.Decoder, member func(key string) error) error {
	if err := delim(d, '{'); err != nil {
		return err
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		key, ok := t.(string)
		if !ok {
			return ErrObject
		}
		if err := member(key); err != nil {
			return err
		}
	}
	return delim(d, '}')
}

func delim(d *json.Decoder, want json.Delim) error {
	t, err := d.Token()
	if err == nil && t != want {
		err = ErrObject
	}
	return err
}

// ReadObject reads a tree, in linear time. nodes counts over several calls; more than
// MaxNodes are ErrTooMany.
func ReadObject(d *json.Decoder, nodes *int) (*Object, error) { return readObject(d, nodes, 0) }

func readObject(d *json.Decoder, nodes *int, depth int) (*Object, error) {
	if *nodes++; *nodes > MaxNodes {
		return nil, ErrTooMany
	}
	if depth > maxNesting {
		return nil, ErrObject
	}
	o := &Object{Members: map[string]json.RawMessage{}}
	return o, Members(d, func(key string) error {
		if key != "children" {
			var v json.RawMessage
			err := d.Decode(&v)
			o.Members[key] = v
			return err
		}
		if err := delim(d, '['); err != nil {
			return err
		}
		for d.More() {
			c, err := readObject(d, nodes, depth+1)
			if err != nil {
				return err
			}
			o.Children = append(o.Children, c)
		}
		return delim(d, ']')
	})
}
