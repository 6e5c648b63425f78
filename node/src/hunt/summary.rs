//! What training came to, in lines for people.

use std::io::{self, Write};

use hunting::{Task, Training};

pub fn print(out: &mut impl Write, task: &Task, training: &Training) -> io::Result<()> {
    let Training { model, report } = training;
    let labels = task.labels;
    writeln!(
        out,
        "learned from    {} rows: {} \"{}\", {} \"{}\"; {} rows held out",
        report.rows,
        report.positives,
        labels.positive,
        report.rows - report.positives,
        labels.negative,
        task.table.ids.len() - report.rows
    )?;
    writeln!(out, "columns         {}", task.table.columns.len())?;
    if let Some(graph) = task.graph {
        let use_of_it = match model.blend() {
            0.0 => "not used: own columns alone did as well".to_owned(),
            share => format!("weight {share} beside own columns"),
        };
        writeln!(out, "calls           {} pairs of ids, {use_of_it}", graph.pairs())?;
    }
    writeln!(out, "on rows that the trees judging them had not seen:")?;
    writeln!(out, "ROC AUC         {:.4}", report.roc_auc)?;
    writeln!(out, "avg precision   {:.4}", report.average_precision)?;
    for (precision, recall) in report.recall_at_precision {
        writeln!(out, "recall          {recall:.4} where precision is {precision}")?;
    }
    for (alarms, recall, precision) in &report.at_alarms_per_million {
        writeln!(
            out,
            "recall          {recall:.4} with {alarms} alarms per million rows, {precision:.4} of them right"
        )?;
    }
    writeln!(
        out,
        "macro F1        {:.4} at probability 0.5, {:.4} at {:.4}",
        report.macro_f1, report.best_macro_f1.0, report.best_macro_f1.1
    )?;
    writeln!(out, "calibration     off by {:.4} in the mean", report.calibration_error)
}
