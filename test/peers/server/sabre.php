<?php
// A server made of sabre/dav, the library in Nextcloud and Baïkal: address books and calendars of one person, in one
// SQLite database. PHP's own web server runs this for each request.

error_reporting(E_ALL & ~E_DEPRECATED & ~E_NOTICE & ~E_WARNING); // Debian's sabre/dav is older than its PHP
ini_set('display_errors', '0');
date_default_timezone_set('UTC');
require_once 'Sabre/autoload.php';

// The tables as the library's own schema for SQLite has them.
const TABLES = '
CREATE TABLE addressbooks (id integer primary key asc, principaluri text, displayname text, uri text, description text, ctag integer);
CREATE TABLE cards (id integer primary key asc, addressbookid integer, carddata blob, uri text, lastmodified integer);
CREATE TABLE calendars (id integer primary key asc, principaluri text, displayname text, uri text, ctag integer, description text,
    calendarorder integer, calendarcolor text, timezone text, components text, transparent bool);
CREATE TABLE calendarobjects (id integer primary key asc, calendardata blob, uri text, calendarid integer, lastmodified integer,
    etag text, size integer, componenttype text, firstoccurence integer, lastoccurence integer);
CREATE TABLE principals (id integer primary key asc, uri text, email text, displayname text, vcardurl text, UNIQUE(uri));
CREATE TABLE groupmembers (id integer primary key asc, principal_id integer, member_id integer, UNIQUE(principal_id, member_id));
';

// Person lets in the one person whom the test knows.
class Person extends Sabre\DAV\Auth\Backend\AbstractBasic
{
    protected function validateUserPass($username, $password)
    {
        return $username === getenv('PEER_USER') && $password === getenv('PEER_PASSWORD');
    }
}

$pdo = new PDO('sqlite:' . getenv('PEER_DATABASE'));
$pdo->setAttribute(PDO::ATTR_ERRMODE, PDO::ERRMODE_EXCEPTION);
$pdo->exec('PRAGMA synchronous = OFF');
if (!$pdo->query("SELECT name FROM sqlite_master WHERE name = 'groupmembers'")->fetch()) {
    $user = getenv('PEER_USER');
    $pdo->exec(TABLES);
    $pdo->prepare('INSERT INTO principals (uri, email, displayname) VALUES (?, ?, ?)')->execute(["principals/$user", "$user@example.com", $user]);
}

$principals = new Sabre\DAVACL\PrincipalBackend\PDO($pdo);
$server = new Sabre\DAV\Server([
    new Sabre\CalDAV\Principal\Collection($principals),
    new Sabre\CalDAV\CalendarRootNode($principals, new Sabre\CalDAV\Backend\PDO($pdo)),
    new Sabre\CardDAV\AddressBookRoot($principals, new Sabre\CardDAV\Backend\PDO($pdo)),
]);
$server->setBaseUri('/');
$server->addPlugin(new Sabre\DAV\Auth\Plugin(new Person(), 'peer'));
$server->addPlugin(new Sabre\CalDAV\Plugin());
$server->addPlugin(new Sabre\CardDAV\Plugin());
$server->addPlugin(new Sabre\DAVACL\Plugin());
$server->exec();
