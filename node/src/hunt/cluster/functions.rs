//! What our plans ask of a row beyond SQL, as functions that DataFusion calls: executors of a cluster are of this program and
//! know them by name. A row is read by the very code that reads it without a cluster.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use arrow_array::{Array, ArrayRef, BooleanArray, Int64Array, UInt64Array};
use arrow_schema::DataType;
use datafusion::arrow::compute::cast;
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};
use numbering::Plan;

use super::super::fields::{Cell, Column, DIALLING, number, start_ms, telephone};

/// A function of ours.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum What {
    /// Of the text of a plan and a field: the digits of E.164 as an integer.
    Number,
    /// Of a field: ms since 1970.
    Start,
    /// Of a field: an IMEI without what follows its serial number.
    Telephone,
    /// Of an integer and a packed set of such.
    IsAmong,
}

#[derive(PartialEq, Eq, Hash, Debug)]
struct Function {
    what: What,
    signature: Signature,
}

fn function(what: What) -> ScalarUDF {
    ScalarUDF::from(Function { what, signature: Signature::variadic_any(Volatility::Immutable) })
}

/// All of them.
pub fn all() -> Vec<Arc<ScalarUDF>> {
    [What::Number, What::Start, What::Telephone, What::IsAmong].map(|what| Arc::new(function(what))).into()
}

pub fn number_of(plan: &str, field: Expr) -> Expr {
    function(What::Number).call(vec![lit(plan), field])
}

pub fn start_of(field: Expr) -> Expr {
    function(What::Start).call(vec![field])
}

pub fn telephone_of(field: Expr) -> Expr {
    function(What::Telephone).call(vec![field])
}

pub fn is_among(value: Expr, packed: &[u8]) -> Expr {
    function(What::IsAmong).call(vec![value, lit(packed)])
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        match self.what {
            What::Number => "qalqan_number",
            What::Start => "qalqan_start",
            What::Telephone => "qalqan_telephone",
            What::IsAmong => "qalqan_is_among",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.what {
            What::Number | What::Telephone => DataType::UInt64,
            What::Start => DataType::Int64,
            What::IsAmong => DataType::Boolean,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let array = |at: usize| args.args[at].to_array(rows);
        let made: ArrayRef = match (self.what, args.args.as_slice()) {
            (What::Number, [ColumnarValue::Scalar(ScalarValue::Utf8(Some(plan))), _]) => {
                let plan = plan_of(plan)?;
                Arc::new(UInt64Array::from_iter(each(&array(1)?, |cell| number(cell, &plan, &DIALLING))?))
            }
            (What::Start, [_]) => Arc::new(Int64Array::from_iter(each(&array(0)?, start_ms)?)),
            (What::Telephone, [_]) => Arc::new(UInt64Array::from_iter(each(&array(0)?, telephone)?)),
            (What::IsAmong, [_, ColumnarValue::Scalar(ScalarValue::Binary(Some(packed)))]) => {
                let array = cast(&array(0)?, &DataType::UInt64)?;
                let values = array.as_any().downcast_ref::<UInt64Array>().expect("what it was cast to");
                let is_in = |value: Option<u64>| Some(value.is_some_and(|value| is_packed(packed, value)));
                Arc::new(BooleanArray::from_iter(values.iter().map(is_in)))
            }
            _ => return exec_err!("{} is called with what it does not take", self.name()),
        };
        Ok(ColumnarValue::Array(made))
    }
}

/// What a function makes of every field of a column.
fn each<T>(array: &ArrayRef, of: impl Fn(&Cell) -> Option<T>) -> Result<Vec<Option<T>>> {
    let texts;
    let column = match Column::of(array) {
        Some(column) => column,
        None => {
            texts = cast(array, &DataType::Utf8)?;
            Column::of(&texts).expect("a column of texts")
        }
    };
    Ok((0..array.len()).map(|row| of(&column.get(row))).collect())
}

/// Parsed once, not once a batch.
fn plan_of(text: &str) -> Result<Arc<Plan>> {
    static PLANS: Mutex<Vec<(String, Arc<Plan>)>> = Mutex::new(Vec::new());
    const KEPT: usize = 8;
    let mut plans = PLANS.lock().expect("nobody panics while holding it");
    if let Some((_, plan)) = plans.iter().find(|(known, _)| known == text) {
        return Ok(plan.clone());
    }
    let Ok(plan) = Plan::parse(text) else {
        return exec_err!("the numbering plan of the hunt is of another version");
    };
    let plan = Arc::new(plan);
    plans.truncate(KEPT - 1);
    plans.insert(0, (text.to_owned(), plan.clone()));
    Ok(plan)
}

/// A set of integers but 0 that is looked into as it lies: a hash table with open addressing, at most half full.
pub fn packed(values: &HashSet<u64>) -> Vec<u8> {
    let places = (values.len() * 2).next_power_of_two();
    let mut table = vec![0u64; places];
    for &value in values {
        let mut at = place(value, places);
        while table[at] != 0 {
            at = (at + 1) & (places - 1);
        }
        table[at] = value;
    }
    table.into_iter().flat_map(u64::to_le_bytes).collect()
}

fn place(value: u64, places: usize) -> usize {
    (value.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize & (places - 1)
}

fn is_packed(packed: &[u8], value: u64) -> bool {
    let (table, _) = packed.as_chunks::<8>();
    let mut at = place(value, table.len());
    loop {
        match u64::from_le_bytes(table[at]) {
            0 => return false,
            found if found == value => return true,
            _ => at = (at + 1) & (table.len() - 1),
        }
    }
}
