//! Authentication: what a registry asks for (RFC 9110, section 11.6.1), and tokens (distribution project, "Token Authentication
//! Specification").

use std::io::Read;

use reqwest::Url;
use reqwest::blocking::Response;
use reqwest::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use serde::Deserialize;

use super::{Registry, RegistryError, status_error};

/// What a registry asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User and password with every request.
    Basic,
    /// A token from another server.
    Bearer {
        realm: Url,
        service: Option<String>,
        scope: Option<String>,
    },
}

/// A token is a few kilobytes long.
const MAX_TOKEN: u64 = 256 << 10;

impl Challenge {
    /// Takes the first challenge that is known from an answer. The error says what is wrong.
    pub(super) fn of(response: &Response) -> Result<Challenge, String> {
        let mut problem = "it does not say which".to_owned();
        for header in response.headers().get_all(WWW_AUTHENTICATE) {
            match header
                .to_str()
                .map_err(|error| error.to_string())
                .and_then(Challenge::parse)
            {
                Ok(challenge) => return Ok(challenge),
                Err(reason) => problem = reason,
            }
        }
        Err(problem)
    }

    fn parse(text: &str) -> Result<Challenge, String> {
        let (scheme, parameters) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Ok(Challenge::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(format!(
                "the scheme `{}` is not known",
                scheme.escape_debug()
            ));
        }
        let (mut realm, mut service, mut scope) = (None, None, None);
        for (name, value) in parameters_of(parameters)? {
            match &name.to_ascii_lowercase()[..] {
                "realm" => realm = Some(value),
                "service" => service = Some(value),
                "scope" => scope = Some(value),
                _ => {}
            }
        }
        let realm = realm.ok_or("it names no token server")?;
        let realm = Url::parse(&realm)
            .map_err(|error| format!("its token server `{}`: {error}", realm.escape_debug()))?;
        Ok(Challenge::Bearer {
            realm,
            service,
            scope,
        })
    }
}

/// `name="value"` or `name=value`, with commas in between; a backslash quotes the next character.
fn parameters_of(mut text: &str) -> Result<Vec<(String, String)>, String> {
    let mut parameters = Vec::new();
    loop {
        text = text.trim_start_matches([' ', '\t', ',']);
        if text.is_empty() {
            return Ok(parameters);
        }
        let (name, rest) = text.split_once('=').ok_or("a parameter has no value")?;
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => unquote(quoted).ok_or("a quoted value has no end")?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].trim().to_owned(), &rest[end..])
            }
        };
        parameters.push((name.trim().to_owned(), value));
        text = rest;
    }
}

/// The text up to the closing quotation mark, and what follows it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((position, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[position + 1..])),
            '\\' => value.push(letters.next()?.1),
            letter => value.push(letter),
        }
    }
    None
}

impl Registry {
    /// Gets a token, as ourselves or as nobody.
    pub(super) fn token(
        &self,
        mut realm: Url,
        service: Option<&str>,
        scope: &str,
        what: &str,
    ) -> Result<HeaderValue, RegistryError> {
        #[derive(Deserialize)]
        struct Token {
            token: Option<String>,
            access_token: Option<String>,
        }
        realm.query_pairs_mut().append_pair("scope", scope);
        if let Some(service) = service {
            realm.query_pairs_mut().append_pair("service", service);
        }
        let mut request = self.client.get(realm.clone());
        if let Some(credentials) = &self.credentials {
            request = request.header(AUTHORIZATION, credentials.basic());
        }
        let response = request.send().map_err(|source| RegistryError::Request {
            url: realm.to_string(),
            source: source.without_url(),
        })?;
        match response.status() {
            status if status.is_success() => {}
            status if status.is_client_error() => return Err(self.unauthorized(what)),
            _ => return Err(status_error(response)),
        }
        let mut text = Vec::new();
        response
            .take(MAX_TOKEN)
            .read_to_end(&mut text)
            .map_err(|source| RegistryError::Body {
                url: realm.to_string(),
                source,
            })?;
        let problem = || self.challenge(format!("{realm} gives no usable token"));
        let token: Token = serde_json::from_slice(&text).map_err(|_| problem())?;
        let token = token.token.or(token.access_token).ok_or_else(problem)?;
        let mut header =
            HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| problem())?;
        header.set_sensitive(true);
        Ok(header)
    }
}
