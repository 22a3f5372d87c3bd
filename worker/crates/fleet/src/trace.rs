//! Recorded arrivals.

use std::time::Duration;

use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, Time, UtcOffset};

use nightread_domain::Lane;

use super::arrivals::Arrival;

/// When a job arrived, as it was written.
enum Stamp {
    Seconds(Duration),
    Clock(OffsetDateTime),
}

/// Reads a trace: lines of `timestamp,lane,seconds`. A timestamp is RFC 3339 or seconds since the simulation began; the
/// lane may be left out (`ingest`), and so may the seconds of one slot that the job took. The first line may be a
/// heading. RFC 3339 timestamps keep their time of day in UTC: the simulation begins at `time_of_day` of the day of the
/// earliest. Errors name the line.
pub fn parse_trace(text: &str, time_of_day: Duration) -> Result<Vec<Arrival>, String> {
    let mut read = Vec::new();
    for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line.trim())) {
        if line.is_empty() || (number == 1 && line.to_ascii_lowercase().starts_with("timestamp")) {
            continue;
        }
        let (stamp, arrival) = parse_line(line).map_err(|problem| format!("line {number}: {problem}"))?;
        read.push((number, stamp, arrival));
    }
    let clocks = read.iter().filter_map(|(_, stamp, _)| match stamp {
        Stamp::Clock(at) => Some(*at),
        Stamp::Seconds(_) => None,
    });
    let (count, first) = (clocks.clone().count(), clocks.min());
    if count != 0 && count != read.len() {
        return Err("timestamps are either all RFC 3339 or all seconds".to_owned());
    }
    let midnight = first.map(|first| first.to_offset(UtcOffset::UTC).replace_time(Time::MIDNIGHT));
    let placed = read.into_iter().map(|(number, stamp, arrival)| {
        let at = match (stamp, midnight) {
            (Stamp::Seconds(at), _) => Some(at),
            (Stamp::Clock(at), Some(midnight)) => {
                Duration::try_from(at - midnight).ok().and_then(|since| since.checked_sub(time_of_day))
            }
            (Stamp::Clock(_), None) => None,
        };
        match at {
            Some(at) => Ok(Arrival { at, ..arrival }),
            None => Err(format!("line {number}: before the simulation begins; see --start")),
        }
    });
    let mut arrivals = placed.collect::<Result<Vec<_>, _>>()?;
    arrivals.sort_by_key(|arrival| arrival.at);
    Ok(arrivals)
}

fn parse_line(line: &str) -> Result<(Stamp, Arrival), String> {
    let mut fields = line.split(',').map(str::trim);
    let stamp = fields.next().unwrap_or_default();
    let lane = fields.next().unwrap_or("ingest");
    let work = fields.next().filter(|text| !text.is_empty());
    if fields.next().is_some() {
        return Err("more than timestamp, lane and seconds".to_owned());
    }
    let lane = lane.parse::<Lane>().map_err(|error| error.to_string())?;
    let work =
        work.map(|text| span(text).ok_or_else(|| format!("{text:?} is no number of seconds"))).transpose()?;
    let stamp = if let Some(at) = span(stamp) {
        Stamp::Seconds(at)
    } else if let Ok(at) = OffsetDateTime::parse(stamp, &Rfc3339) {
        Stamp::Clock(at)
    } else {
        return Err(format!("{stamp:?} is neither RFC 3339 nor a number of seconds"));
    };
    Ok((stamp, Arrival { at: Duration::ZERO, lane, work }))
}

fn span(text: &str) -> Option<Duration> {
    text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
}

#[cfg(test)]
mod tests {

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn a_trace_keeps_its_time_of_day() {
        let text = "timestamp,lane\n2026-03-01T21:00:00+01:00,bulk\n2026-03-01T20:00:01Z,ingest,0.5\n\n2026-03-02T01:00:00Z,volumes\n";
        let arrivals = parse_trace(text, HOUR * 20).expect("sound");
        let times: Vec<_> = arrivals.iter().map(|arrival| (arrival.at, arrival.lane)).collect();
        let second = Duration::from_secs(1);
        assert_eq!(times, [(Duration::ZERO, Lane::Bulk), (second, Lane::Ingest), (HOUR * 5, Lane::Volumes)]);
        assert_eq!(arrivals[1].work, Some(second / 2));
        assert_eq!(parse_trace("5.5\n1,volumes", Duration::ZERO).expect("sound").len(), 2);
    }

    #[test]
    fn a_bad_line_is_named() {
        for (text, said) in [
            ("1,ingest\nx,ingest", "line 2"),
            ("1,night", "line 1"),
            ("-1,bulk", "line 1"),
            ("1,bulk,soon", "line 1"),
            ("1,bulk,1,1", "line 1"),
            ("1,bulk\n2026-03-02T01:00:00Z,bulk", "either"),
            ("2026-03-02T01:00:00Z,bulk", "before the simulation begins"),
        ] {
            let error = parse_trace(text, HOUR * 20).expect_err(text);
            assert!(error.contains(said), "{error}");
        }
    }
}
