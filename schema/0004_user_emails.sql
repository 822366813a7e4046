-- An e-mail address for people, and whether the operator vouches for it.

ALTER TABLE users
    ADD COLUMN email text,
    ADD COLUMN email_verified boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT users_email_check CHECK (email <> ''),
    ADD CONSTRAINT users_email_verified_check CHECK (email IS NOT NULL OR NOT email_verified);

-- Whoever is told an address may take it for the person: it names one, in whatever case.
CREATE UNIQUE INDEX users_email_key ON users (lower(email));
