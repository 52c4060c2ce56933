package minute

import (
	"encoding/binary"
	"fmt"
)

// PackPersons writes the numbers of persons, ascending, as bytes: of each how much greater than the one before it is.
func PackPersons(persons []int64) []byte {
	var packed []byte
	before := int64(0)
	for _, person := range persons {
		packed = binary.AppendUvarint(packed, uint64(person-before))
		before = person
	}
	return packed
}

// UnpackPersons reads what PackPersons wrote. It fails if the bytes are no such list.
func UnpackPersons(packed []byte) (persons []int64, err error) {
	before := int64(0)
	for len(packed) > 0 {
		step, n := binary.Uvarint(packed)
		if n <= 0 || step == 0 || step > uint64(MaxPerson-before) {
			return nil, fmt.Errorf("person %d of a list is none", len(persons))
		}
		before += int64(step)
		persons, packed = append(persons, before), packed[n:]
	}
	return persons, nil
}
