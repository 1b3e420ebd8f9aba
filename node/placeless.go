package node

import (
	"fmt"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/source"
	"github.com/decant-dev/decant/node/source/folder"
	"github.com/decant-dev/decant/node/source/placeless"
)

// source is the collection as it is to be sent.
func (s *sending) source(roots []string) (source.Source, error) {
	f, err := folder.New(roots)
	if err != nil || !s.meta.Placeless {
		return f, err
	}
	return placeless.New(f, s.placeless), nil
}

// placeless keeps what photos lose, and says how many do: before anything of them leaves the device.
func (s *sending) placeless(changes []item.Change) error {
	lose, may := 0, 0
	for _, c := range changes {
		if c.Effect == item.EffectDropped {
			lose++
		} else {
			may++
		}
	}
	if err := putChanges(s.t.j, tagPlaceless, changes); err != nil {
		return err
	}
	s.n.notice("placeless", fmt.Sprintf("%d %d", lose, may))
	return nil
}
