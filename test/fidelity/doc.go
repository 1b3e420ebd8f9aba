// Package fidelity measures what a program made of somebody's data: it reads a file as it was and as it came out, and
// counts what is still there. It judges node, so it shares no code with it and imports the standard library only; where
// a standard leaves two readings open, either is accepted of a program that translates, and neither of one that copies.
//
//	before, err := fidelity.Parse("contacts.vcf", sent)
//	after, err := fidelity.Parse("contacts.vcf", arrived)
//	r := fidelity.Compare(before, after, fidelity.Options{Report: changes})
//	r.Recall(), r.Strict(), r.Invention(), r.Silent
//
// # What is compared
//
// A file is a list of records (cards; calendar objects, which are all components of one UID; time zones; messages; calls;
// bookmarks; networks), and a record a multiset of properties. Records are paired by their whole content, else by UID, else
// by how much they share; a record without a partner is lost with all that it has. Between partners,
//
//   - Recall is the part of the properties that is still there by component path, name and value: text unescaped,
//     quoted-printable, base64 and charset decoded, structured values component by component, lists as sets.
//   - Strict is the part that also has the same parameters, group and separators.
//   - Invention is the part of what came out that was not there before.
//   - Silent is what Strict misses and the program's own report does not list.
//
// PRODID, REV and VERSION don't count. Lines that are no property, text outside of components and empty components do.
//
// # Readings
//
// UTF-8, UTF-16 with a byte order mark, Latin-1 and Windows-1252 are decoded; bytes in another charset are compared as
// bytes. Folded vCard 2.1 text may keep or lose the blank that folding uses, and its backslashes may be literal or escapes.
// A number after "tel:", a UUID after "urn:uuid:", a "geo:" position and a picture in a "data:" URI are what they are without.
//
// Attributes that only say "null" in an SMS Backup & Restore file, dates of bookmarks, and what nobody would miss in them
// count for Strict only.
package fidelity
