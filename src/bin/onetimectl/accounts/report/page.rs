//! The page of a report as HTML. Facts in, text out.

use std::fmt::{Error, Write as _};

use pam_onetime::account::Timestamp;
use pam_onetime::bytes_as_text::Readable;

use super::Facts;
use super::plot::Plot;
use crate::accounts::status::StatusRow;
use crate::paper::markup::escaped;

const DAY: u64 = 86_400;

/// No script, nothing from elsewhere, and a browser is asked to see to that.
const HEAD: &str = "<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
    <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
    <meta name=\"robots\" content=\"noindex\">\n<meta name=\"color-scheme\" content=\"light dark\">\n";

const STYLE: &str = "@page { margin: 15mm }
:root { --ink: #1b1b1b; --paper: #fff; --line: #999; --a: #1f5fa8; --b: #d98a00; --c: #a33 }
@media (prefers-color-scheme: dark) { :root { --ink: #eee; --paper: #16181b; --line: #777; --a: #7db4f0; --b: #f0b34a; --c: #f08080 } }
@media print { :root { --ink: #000; --paper: #fff; --line: #999; --a: #1f5fa8; --b: #d98a00; --c: #a33 } body { margin: 0 } }
body { font: 11pt/1.5 sans-serif; color: var(--ink); background: var(--paper); max-width: 190mm; margin: 8mm auto; padding: 0 4mm }
h1 { font-size: 17pt } h2 { font-size: 13pt; margin-top: 1.6em; break-after: avoid }
table { border-collapse: collapse; width: 100%; font-size: 9.5pt }
caption { text-align: left; font-weight: bold }
th, td { text-align: left; padding: .2em .6em .2em 0; border-bottom: 1px solid var(--line) }
tbody th { overflow-wrap: anywhere; min-width: 6em } td { overflow-wrap: break-word }
thead { display: table-header-group } tr, figure { break-inside: avoid }
figure { margin: 1.2em 0 } figcaption { font-weight: bold } figure > svg { width: 100%; height: auto }
svg text { font: 11px sans-serif; fill: var(--ink) } .axis { stroke: var(--line); fill: none }
.s0 { fill: var(--a) } .s1 { fill: var(--b) } .s2 { fill: var(--c) } .key svg { width: .8em; height: .8em }
svg { print-color-adjust: exact; -webkit-print-color-adjust: exact }
";

pub(super) fn html(facts: &Facts) -> Result<String, Error> {
    let when = facts.now.to_minute();
    let title = &*escaped(&format!("One-time codes on {}", facts.host));
    let mut out = String::new();
    writeln!(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n{HEAD}<title>{title}</title>")?;
    writeln!(out, "<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>")?;
    let s = facts.summary;
    writeln!(out, "<p>As of {when}. {}.</p>", *escaped(&s.to_string()))?;
    writeln!(out, "<p>Times are in UTC; the days of logins are those of the log.</p>")?;
    writeln!(
        out,
        "<p>Users are those who have a record, and the ordinary users of /etc/passwd; users of a directory \
         who have no record are not in this report.</p>"
    )?;
    out.push_str(&enrolled(facts).svg()?);
    out.push_str(&pending(facts).svg()?);
    logins(&mut out, facts)?;
    accounts(&mut out, facts)?;
    writeln!(out, "</body>\n</html>")?;
    Ok(out)
}

/// How many of today's accounts had been issued and activated, at twelve moments.
fn enrolled(facts: &Facts) -> Plot<'static> {
    const MOMENTS: u64 = 12;
    let rows = || facts.rows.iter().map(|(_, row)| row);
    let now = facts.now;
    let first = rows().filter_map(|row| row.issued).min().unwrap_or(now).min(now);
    let span = now.since(first).max(DAY);
    // `11-28 04:31`, or `2026-11-28`: no two of them look alike.
    let shown = if span / MOMENTS < DAY { 5..16 } else { 0..10 };
    let count = |at: Timestamp, of: fn(&StatusRow) -> Option<Timestamp>| {
        let counted = rows().filter_map(of).filter(|time| *time <= at).count();
        u64::try_from(counted).unwrap_or(0)
    };
    let moments = (0..MOMENTS).map(|nth| {
        let before = span.saturating_mul(MOMENTS.saturating_sub(1).saturating_sub(nth));
        let at = Timestamp(now.0.saturating_sub(before / MOMENTS));
        let label = at.to_minute().get(shown.clone()).unwrap_or_default().to_owned();
        (label, vec![count(at, |row| row.issued), count(at, |row| row.since)])
    });
    let groups = moments.collect();
    let title = "Accounts over time, of those that there are now";
    Plot { id: "enrolled", title, series: &["issued", "activated"], groups }
}

/// How long ago the secrets were issued that nobody has activated.
fn pending(facts: &Facts) -> Plot<'static> {
    let ages = [("1 day", 1), ("7 days", 7), ("30 days", 30), ("90 days", 90)];
    let pending = facts.rows.iter().filter(|(_, row)| row.otp && !row.activated);
    let issued: Vec<_> = pending.filter_map(|(_, row)| row.issued).collect();
    let age = |time: Timestamp| facts.now.since(time) / DAY;
    let (mut groups, mut least) = (Vec::new(), 0);
    for (word, most) in ages.into_iter().chain([("more", u64::MAX)]) {
        let fits = issued.iter().filter(|time| (least..most).contains(&age(**time))).count();
        let label = if word == "more" { word.to_owned() } else { format!("up to {word}") };
        groups.push((label, vec![u64::try_from(fits).unwrap_or(0)]));
        least = most;
    }
    Plot { id: "pending", title: "Pending accounts by age", series: &["pending"], groups }
}

fn logins(out: &mut String, facts: &Facts) -> Result<(), Error> {
    let log = &facts.logins;
    writeln!(out, "<h2>Logins</h2>")?;
    if log.sources.is_empty() {
        return writeln!(
            out,
            "<p>Logins cannot be counted: neither a file of a syslog daemon nor the journal could be read.</p>"
        );
    }
    let sources = &*escaped(&log.sources.join(", "));
    writeln!(
        out,
        "<p>Counted from the lines of pam_onetime in {sources}; what was rotated away or sent elsewhere is \
         missing. Where a line has no year, it is the last one before the file was changed. A login without a code is one that this module let pass.</p>"
    )?;
    let days = log.days.iter().rev().take(30).collect::<Vec<_>>().into_iter().rev();
    let groups: Vec<_> = days
        .map(|(label, day)| {
            (
                label.clone(),
                vec![day.with_code, day.without_code, day.refused.saturating_add(day.locked)],
            )
        })
        .collect();
    if groups.is_empty() {
        return writeln!(out, "<p>There is no login in it.</p>");
    }
    let series = &["with a code", "without a code", "refused"];
    let title = "Logins of each day, the last thirty days that have any";
    out.push_str(&Plot { id: "logins", title, series, groups }.svg()?);
    let groups: Vec<_> = log.days.iter().filter(|(_, day)| day.locked > 0).collect();
    let groups = groups.into_iter().rev().take(30).rev();
    let groups: Vec<_> = groups.map(|(label, day)| (label.clone(), vec![day.locked])).collect();
    match groups.is_empty() {
        true => writeln!(out, "<p>No login was refused because of a lock.</p>"),
        false => {
            let title = "Logins refused because the account was locked";
            out.push_str(&Plot { id: "locks", title, series: &["refused"], groups }.svg()?);
            Ok(())
        }
    }
}

fn accounts(out: &mut String, facts: &Facts) -> Result<(), Error> {
    let heads = [
        "User",
        "State",
        "Issued",
        "Activated",
        "Last code",
        "Wrong codes",
        "Locked until",
        "At services",
    ];
    let row = |(user, row): &(String, StatusRow)| {
        let time = |time: Option<Timestamp>| time.map(Timestamp::to_minute).unwrap_or_default();
        let cells = [
            row.state().to_owned(),
            time(row.issued),
            time(row.since),
            time(row.last_login),
            row.failures.to_string(),
            time(row.locked_until),
            row.at_services(Timestamp::to_minute),
        ];
        (Readable(user).to_string(), cells.to_vec())
    };
    let locked: Vec<_> = facts.rows.iter().filter(|(_, row)| row.is_locked()).map(row).collect();
    let without: Vec<_> = facts.rows.iter().filter(|(_, row)| !row.otp).map(row).collect();
    let with: Vec<_> = facts.rows.iter().filter(|(_, row)| row.otp).map(row).collect();
    table(out, "Locked now", &heads, &locked)?;
    table(out, "Users without a code", &heads[..1], &without)?;
    table(out, "Users with a code", &heads, &with)?;
    let unread = facts.unread.iter();
    let unread: Vec<_> =
        unread.map(|(user, why)| (Readable(user).to_string(), vec![why.clone()])).collect();
    table(out, "Accounts that cannot be read", &["User", "Why"], &unread)
}

/// A table whose rows begin with a user. Cells beyond the heads are left out.
fn table(
    out: &mut String,
    title: &str,
    heads: &[&str],
    rows: &[(String, Vec<String>)],
) -> Result<(), Error> {
    writeln!(out, "<h2>{title} ({})</h2>", rows.len())?;
    if rows.is_empty() {
        return writeln!(out, "<p>None.</p>");
    }
    let heads_row: String =
        heads.iter().map(|head| format!("<th scope=\"col\">{head}</th>")).collect();
    writeln!(out, "<table>\n<thead><tr>{heads_row}</tr></thead>\n<tbody>")?;
    for (user, cells) in rows {
        write!(out, "<tr><th scope=\"row\">{}</th>", *escaped(user))?;
        for cell in cells.iter().take(heads.len().saturating_sub(1)) {
            write!(out, "<td>{}</td>", *escaped(cell))?;
        }
        writeln!(out, "</tr>")?;
    }
    writeln!(out, "</tbody>\n</table>")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::report::log::{Day, Logins};
    use crate::accounts::status::Summary;

    /// 2026-11-28, 04:31 UTC.
    const NOW: u64 = 1_795_840_260;

    fn pending(issued: u64) -> StatusRow {
        StatusRow {
            otp: true,
            activated: false,
            issued: Some(Timestamp(issued)),
            since: None,
            last_login: None,
            deadline: None,
            tokens: 1,
            drift: 0,
            recovery_codes_left: None,
            failures: 0,
            locked_until: None,
            services: Vec::new(),
        }
    }

    fn facts(rows: Vec<(String, StatusRow)>) -> Facts {
        let mut summary = Summary::default();
        rows.iter().for_each(|(_, row)| summary.count(row));
        let (host, unread, logins) = ("h<1>".to_owned(), Vec::new(), Logins::default());
        Facts { host, now: Timestamp(NOW), rows, unread, summary, logins }
    }

    #[test]
    fn of_an_empty_store_the_page_says_that_there_is_nobody() {
        let page = html(&facts(Vec::new())).unwrap();
        assert!(page.contains("0 users: 0 disabled, 0 pending, 0 active; 0 locked"), "{page}");
        assert_eq!(page.matches("<p>None.</p>").count(), 4, "{page}");
        assert!(page.contains("Logins cannot be counted") && page.contains("h&lt;1&gt;"), "{page}");
    }

    #[test]
    fn no_name_no_error_and_no_source_is_markup() {
        let evil = "<script>alert('1')</script>\"&\u{1b}";
        let mut facts = facts(vec![(evil.to_owned(), pending(NOW))]);
        facts.unread.push((evil.to_owned(), evil.to_owned()));
        facts.logins.sources.push(evil.to_owned());
        facts.logins.days.insert(evil.to_owned(), Day { locked: 1, ..Day::default() });
        let page = html(&facts).unwrap();
        assert!(!page.contains("<script") && !page.contains('\u{1b}'), "{page}");
        assert!(page.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;"), "{page}");
    }

    #[test]
    fn each_time_has_its_zone_and_the_moments_of_a_young_store_differ() {
        for age in [0, 3600, DAY, 5 * DAY, 12 * DAY, 23 * DAY, 24 * DAY, 4000 * DAY] {
            let facts = facts(vec![("alice".to_owned(), pending(NOW - age))]);
            let page = html(&facts).unwrap();
            assert!(page.contains("<p>As of 2026-11-28 04:31 UTC. "), "{page}");
            let issued = Timestamp(NOW - age).to_minute();
            assert!(page.contains(&format!("<td>{issued}</td>")), "{page}");
            let groups = enrolled(&facts).groups;
            let labels: std::collections::BTreeSet<_> =
                groups.iter().map(|(label, _)| label).collect();
            assert_eq!(labels.len(), 12, "{age}: {labels:?}");
            assert_eq!(groups[11].1, [1, 0], "{age}");
        }
    }

    #[test]
    fn ten_thousand_accounts_have_a_row_each() {
        let rows = (0..10_000).map(|nth| (format!("user{nth}"), pending(NOW - nth * 3600)));
        let page = html(&facts(rows.collect())).unwrap();
        assert!(page.contains("10000 users: 0 disabled, 10000 pending"));
        assert_eq!(page.matches("<th scope=\"row\">").count(), 10_000);
        assert!(page.contains("up to 1 day: pending 24; "), "{page:.9000}");
    }
}
