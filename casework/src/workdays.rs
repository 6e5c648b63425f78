//! Terms in working days, by a country's weekend and holidays.

use std::collections::BTreeSet;

use jiff::civil::{Date, Weekday};
use jiff::{Timestamp, ToSpan, tz::TimeZone};

/// Which days are worked.
#[derive(Clone, Debug)]
pub struct WorkDays {
    pub zone: TimeZone,
    pub weekend: Vec<Weekday>,
    pub holidays: BTreeSet<Date>,
}

impl WorkDays {
    pub fn is_worked(&self, day: Date) -> bool {
        !self.weekend.contains(&day.weekday()) && !self.holidays.contains(&day)
    }

    /// The end of the last of so many working days after the day of a moment; ms since 1970. The day itself does not count.
    pub fn due_ms(&self, from_ms: i64, days: u32) -> i64 {
        let from = Timestamp::from_millisecond(from_ms).unwrap_or_default();
        let mut day = from.to_zoned(self.zone.clone()).date();
        let mut left = days;
        // Whoever works no day at all has a year for each.
        for _ in 0..u64::from(days) * 366 {
            if left == 0 {
                break;
            }
            day = day.saturating_add(1.day());
            left -= u32::from(self.is_worked(day));
        }
        let end = day.saturating_add(1.day()).to_zoned(self.zone.clone());
        end.map_or(from_ms, |end| end.timestamp().as_millisecond() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn days(holidays: &[&str]) -> WorkDays {
        WorkDays {
            zone: TimeZone::fixed(jiff::tz::offset(5)),
            weekend: vec![Weekday::Saturday, Weekday::Sunday],
            holidays: holidays.iter().map(|day| day.parse().unwrap()).collect(),
        }
    }

    fn ms(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    #[test]
    fn two_working_days_are_over_at_the_end_of_the_second() {
        // 2026-11-25 is a Wednesday, and 23:30 of it in Almaty is 18:30 in UTC.
        assert_eq!(days(&[]).due_ms(ms("2026-11-25T18:30:00Z"), 2), ms("2026-11-27T18:59:59.999Z"));
        // Of a Thursday they end on Monday.
        assert_eq!(days(&[]).due_ms(ms("2026-11-26T05:00:00Z"), 2), ms("2026-11-30T18:59:59.999Z"));
        // 16 December is a holiday in Kazakhstan: 2026-12-15 is a Tuesday.
        assert_eq!(
            days(&["2026-12-16"]).due_ms(ms("2026-12-15T05:00:00Z"), 2),
            ms("2026-12-18T18:59:59.999Z")
        );
        assert_eq!(days(&[]).due_ms(ms("2026-11-28T05:00:00Z"), 1), ms("2026-11-30T18:59:59.999Z"));
    }

    proptest! {
        #[test]
        fn so_many_worked_days_lie_between(from_s in 0..4_000_000_000i64, n in 1..20u32, holiday in 0..30i64) {
            let mut days = days(&[]);
            let day = |at_ms: i64| {
                Timestamp::from_millisecond(at_ms).unwrap().to_zoned(days.zone.clone()).date()
            };
            let first = day(from_s * 1000);
            days.holidays = [first.saturating_add(holiday.days())].into();
            let last = {
                let at = Timestamp::from_millisecond(days.due_ms(from_s * 1000, n)).unwrap();
                at.to_zoned(days.zone.clone()).date()
            };
            prop_assert!(days.is_worked(last));
            let between = first.series(1.day()).skip(1).take_while(|day| *day <= last);
            prop_assert_eq!(between.filter(|day| days.is_worked(*day)).count(), n as usize);
        }
    }
}
